"""The whole service in sandbox mode as a child of a test, with its simulated WhatsApp."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import nats
from nats.aio.client import Client

from tests.e2e.test_up import Up
from tests.simulator.phone import Phone
from tests.simulator.process import Simulator

NUMBER = "15550001111"
FRIEND = "15557654321"


class Sandboxed(Up):
    """`python -m actors.up` with SANDBOX_URL."""

    def __init__(self, data: Path, url: str, **variables: str) -> None:
        super().__init__(data, SANDBOX_URL=url, **variables)
        self.home = data / "sandbox"


class Service:
    """What a client of the service plays with."""

    def __init__(self, data: Path, simulator: Simulator, variables: dict[str, str]) -> None:
        self.data, self.simulator, self._variables = data, simulator, variables
        self.up: Sandboxed | None = None
        self.http = httpx.AsyncClient()

    async def start(self, **variables: str) -> Self:
        """Start the service and wait until it answers; `variables` are for this life only."""
        self.up = Sandboxed(self.data, self.simulator.url, **self._variables | variables)
        await asyncio.to_thread(self.up.wait_until_ready)
        await self.http.aclose()
        self.http = httpx.AsyncClient(
            base_url=str(self.note["gateway_url"]), headers={"x-api-key": self.key}, timeout=40
        )
        return self

    async def stop(self) -> int:
        """Stop it as Ctrl-C does; the exit status."""
        return await self.end(signal.SIGTERM)

    async def end(self, number: int) -> int:
        """End it by a signal, and all that it started; the exit status."""
        assert self.up is not None
        return await asyncio.to_thread(self.up.end, number)

    @property
    def note(self) -> dict[str, Any]:
        """What `up` says about itself."""
        assert self.up is not None
        return self.up.note

    @property
    def key(self) -> str:
        """The first admin key."""
        return (self.data / "sandbox" / "api-key").read_text().strip()

    @property
    def phone(self) -> Phone:
        """The simulated phones."""
        return self.simulator.phone

    async def nats(self, role: str) -> Client:
        """Connect to its NATS in a role."""
        return await nats.connect(
            self.note["nats_url"],
            user=role,
            password=self.note["nats_passwords"][role],
            inbox_prefix=f"_INBOX_{role}".encode(),
        )

    # --- what clients do --------------------------------------------------------

    async def create(self, user: str = "ann", bot: str = "bot", **fields: object) -> dict[str, Any]:
        """Create a session over HTTP."""
        body = {"userId": user, "plubotId": bot, **fields}
        answer = await self.http.post("/api/sessions/create", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def link(self, user: str = "ann", bot: str = "bot", number: str = NUMBER) -> None:
        """Create a session, scan its code, and wait until it is ready."""
        await self.create(user, bot)
        code = (await self.http.get(f"/api/qr/{user}/{bot}")).json()["qr"]
        await self.phone.scan(code, number=number)
        await self.until_status(f"{user}-{bot}", "ready")

    async def status(self, session: str) -> dict[str, Any]:
        """Read a session's status."""
        return (await self.http.get(f"/api/sessions/{session}/status")).json()

    async def until_status(self, session: str, word: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for a status word."""

        async def there() -> dict[str, Any] | None:
            found = await self.status(session)
            return found if found["status"] == word else None

        return await self.until(there, seconds, f"{session} {word}")

    async def send(
        self, session: str, text: str, to: str = FRIEND, **headers: str
    ) -> httpx.Response:
        """Send a text."""
        body = {"sessionId": session, "to": to, "message": text}
        return await self.http.post("/api/messages/send", json=body, headers=headers)

    async def history(self, session: str, limit: int = 50) -> list[dict[str, Any]]:
        """Read a session's messages, newest first."""
        answer = await self.http.get(f"/api/messages/{session}/history", params={"limit": limit})
        assert answer.status_code == 200, answer.text
        return answer.json()["messages"]

    async def until(
        self, ask: Callable[[], Awaitable[Any]], seconds: float = 60, what: str = ""
    ) -> Any:
        """Wait until an answer is true."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + seconds
        while True:
            found = await ask()
            if found:
                return found
            if loop.time() > give_up:
                assert self.up is not None
                raise AssertionError(f"never: {what}\n{self.up.said[-4000:]}")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def a_service(home: Path, **variables: str) -> AsyncIterator[Service]:
    """A simulated WhatsApp and the service on it; nothing is left afterwards."""
    simulator = Simulator(home / "simulator")
    await simulator.start()
    service = Service(home / "data", simulator, variables)
    try:
        yield await service.start()
    finally:
        await service.http.aclose()
        if service.up is not None and service.up.process.poll() is None:
            await service.stop()
        await simulator.stop()


async def events_of(service: Service) -> list[dict[str, Any]]:
    """Every event in the stream, as it stands there."""
    client = await service.nats("projector")
    js = client.jetstream()
    info = await js.stream_info("WA_EVT")
    found = []
    for position in range(info.state.first_seq, info.state.last_seq + 1):
        held = await js.get_msg("WA_EVT", position)
        found.append({"position": position, "place": held.subject, **json.loads(held.data or b"")})
    await client.close()
    return found
