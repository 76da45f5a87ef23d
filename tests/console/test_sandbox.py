"""The console on the whole service, with real browsers on the simulated WhatsApp."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.console.person import Person
from tests.e2e.service import FRIEND, NUMBER, Service, a_service

pytestmark = [
    pytest.mark.browser,
    pytest.mark.services,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


async def test_a_phone_is_linked_writes_and_is_written_to_and_survives_its_browser(
    person: Person, tmp_path: Path
) -> None:
    async with a_service(tmp_path, BACKOFF_FIRST="4", MEMORY_INTERVAL="1") as service:
        await person.sit(f"{service.note['gateway_url']}/")
        await person.log_in(service.key)
        await person.click("button", "Create a session")
        await person.fill("User", "ann")
        await person.fill("Bot", "bot")
        await person.click("button", "Create and link")
        await person.finds("img", "The code to scan", timeout=40_000)
        code = (await service.http.get("/api/qr/ann-bot")).json()["qr"]
        await service.phone.scan(code, number=NUMBER)
        await person.sees(f"The session is ready as +{NUMBER}", timeout=40_000)
        await person.click("link", "Open the session")

        await person.sees("of a core now")
        await person.click("button", "Take a screenshot")
        await person.sees("It is kept nowhere")
        assert await person.violations() == []

        await person.do("go", url=f"{service.note['gateway_url']}/#/chats/ann-bot/{FRIEND}@c.us")
        await person.fill("Message", "Hello from the console")
        await person.press("Enter")
        # The simulated friend reads at once.
        await person.sees("Read", exact=True)
        await service.phone.incoming(NUMBER, FRIEND, "And hello back")
        await person.sees("And hello back")

        await person.do("go", url=f"{service.note['gateway_url']}/#/sessions/ann-bot")
        await person.sees("The page itself answers")
        _kill_browser(service)
        await person.sees("Attempt 1 in")
        await person.sees("because:")
        assert await person.violations() == []
        await person.sees("The page itself answers", timeout=40_000)


def _kill_browser(service: Service) -> None:
    """Kill the one Chromium that this service runs."""
    assert service.up is not None
    below = psutil.Process(service.up.process.pid).children(recursive=True)
    [browser] = [
        child
        for child in below
        if "chrom" in child.name() and "--type=" not in " ".join(child.cmdline())
    ]
    os.kill(browser.pid, signal.SIGKILL)
