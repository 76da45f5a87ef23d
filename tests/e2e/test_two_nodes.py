"""Two nodes and real browsers: a link outlives the machine that it was made on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import psutil
import pytest

from events.subjects import SessionId
from tests.faults.experiments import VARIABLES
from tests.faults.log_reader import LogReader
from tests.faults.site import Site, a_site

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(240)]

FRIEND = "15557654321"
PATIENCE = 60.0


class Talk:
    """Somebody who writes without end, each message until it is accepted."""

    def __init__(self, site: Site, session: SessionId) -> None:
        self.accepted: list[str] = []
        self.answers: list[int] = []
        self._site, self._session = site, session
        self._going = True
        self._task = asyncio.get_running_loop().create_task(self._talk())

    async def _talk(self) -> None:
        number = 0
        while self._going:
            number += 1
            text = f"{self._session}-{number}"
            while not await self._send(text):
                await asyncio.sleep(0.1)
            self.accepted.append(text)
            await asyncio.sleep(0.1)

    async def _send(self, text: str) -> bool:
        body = {"sessionId": self._session.joined, "to": FRIEND, "message": text}
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._site.http.post(
                "/api/messages/send", json=body, headers={"Idempotency-Key": text}
            )
            self.answers.append(answer.status_code)
            return answer.is_success
        return False

    async def end(self) -> list[str]:
        """Stop; what was accepted, in order."""
        self._going = False
        await self._task
        return self.accepted


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A node `a` with two linked sessions whose profiles are in the vault."""
    variables = {**VARIABLES, "VAULT_AFTER": "1"}
    async with a_site(tmp_path, 2, **variables) as site:
        await site.until_saved()
        yield site


async def ready_on(site: Site, node: str) -> None:
    """Wait until every session is ready, and this node is who says so."""
    reader = LogReader(site)

    async def there() -> bool:
        owner: dict[str, tuple[str, str | None]] = {}
        for event in await reader.more():
            if event.kind in {"ready", "claimed"}:
                owner[event.session] = (event.kind, event.node)
        return set(owner.values()) == {("ready", node)} and len(owner) == len(site.sessions)

    try:
        await site.until(there, PATIENCE, f"all are ready on {node}")
    finally:
        await reader.close()


async def on_phone(site: Site, session: SessionId, texts: Sequence[str]) -> list[str]:
    """Wait until the last of these is on the phone; all that our side wrote, in order."""
    number = site.sessions[session]

    async def written() -> list[str]:
        held = [message.body for message in await site.phone.sent(number)]
        return held if texts[-1] in held else []

    return await site.until(written, PATIENCE, "the last message is on the phone", pause=0.2)


async def test_what_a_killed_node_had_goes_on_elsewhere_without_a_scan(site: Site) -> None:
    await site.begin("b")
    talks = {session: Talk(site, session) for session in site.sessions}
    await asyncio.sleep(1)

    site.parts["node"].kill()
    await ready_on(site, "b")

    for session, talk in talks.items():
        accepted = await talk.end()
        assert await on_phone(site, session, accepted) == accepted
        assert len(await site.phone.devices(site.sessions[session])) == 1


async def test_a_frozen_node_that_wakes_writes_nothing_and_closes_its_browsers(site: Site) -> None:
    await site.begin("b")
    frozen = site.parts["node"]

    frozen.freeze()
    await ready_on(site, "b")
    frozen.thaw()
    old = site.profiles("a")

    async def closed() -> bool:
        held: list[str] = []
        for process in site.browsers(None):
            # One that ends while it is looked at has no command line any more.
            with contextlib.suppress(psutil.Error):
                held += process.cmdline()
        return not any(str(old) in word for word in held)

    await site.until(closed, PATIENCE, "the browsers of a are closed")
    reader = LogReader(site)
    events = [event for event in await reader.more() if event.family == "session"]
    await reader.close()
    for session in site.sessions:
        of_it = [event for event in events if event.session == session.dotted]
        claimed = next(n for n, e in enumerate(of_it) if e.kind == "claimed" and e.node == "b")
        assert {event.node for event in of_it[claimed:]} == {"b"}


async def test_a_drain_under_load_fails_no_request_and_loses_nothing(site: Site) -> None:
    await site.begin("b")
    talks = {session: Talk(site, session) for session in site.sessions}

    answer = await site.http.post("/api/nodes/a/drain")
    assert answer.json()["left"] == len(site.sessions)
    await ready_on(site, "b")
    await site.parts["node"].stop()
    site.parts["node"].start()
    await asyncio.sleep(2)
    await site.parts["b"].stop()
    await ready_on(site, "a")

    for session, talk in talks.items():
        accepted = await talk.end()
        assert await on_phone(site, session, accepted) == accepted
        assert set(talk.answers) <= {200, 202, 503}
