"""A person at a browser: Debian's Chromium, driven by playwright-core through `person.mjs`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from actors.browser.executable import find_executable

SCRIPT = Path(__file__).parent / "person.mjs"


class Lost(AssertionError):
    """The person did not find what was to be there."""


class Person:
    """Does what people do: reads, clicks and types; finds things by role and name."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, verb: str, **given: Any) -> Any:
        """Do one thing; raises Lost with what the page says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"verb": verb, **given}).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), 90)
        if not line:
            raise Lost("the browser's driver is gone")
        told = json.loads(line)
        if "failed" in told:
            raise Lost(told["failed"])
        return told["done"]

    async def sit(self, url: str, **given: Any) -> None:
        """Open a fresh browser window at an address."""
        await self.do("sit", url=url, **given)

    async def log_in(self, key: str) -> None:
        """Log in with a key."""
        await self.fill("API key", key)
        await self.click("button", "Log in")
        await self.do("finds", role="navigation", name="Sections")

    async def click(self, role: str, name: str, **given: Any) -> None:
        """Click what has a role and a name."""
        await self.do("click", role=role, name=name, **given)

    async def fill(self, label: str, text: str) -> None:
        """Write into a field."""
        await self.do("fill", label=label, text=text)

    async def sees(self, text: str, **given: Any) -> None:
        """Wait until a text is to be seen."""
        await self.do("sees", text=text, **given)

    async def finds(self, role: str, name: str, **given: Any) -> None:
        """Wait until there is something with a role and a name."""
        await self.do("finds", role=role, name=name, **given)

    async def attach(self, label: str, name: str, kind: str, content: bytes) -> None:
        """Choose a file."""
        file = {"name": name, "type": kind, "content": base64.b64encode(content).decode()}
        await self.do("attach", label=label, files=[file])

    async def tab_to(self, name: str, **given: Any) -> None:
        """Press Tab until what has this name is focused."""
        await self.do("tab", name=name, **given)

    async def is_somewhere(self) -> bool:
        """Tell whether the keyboard still has a place on the page."""
        return await self.do("value", code="() => document.activeElement !== document.body")

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            await self.do("press", key=key)

    async def type(self, text: str) -> None:
        """Type into what is focused."""
        await self.do("type", text=text)

    async def violations(self) -> Sequence[str]:
        """Tell what axe-core finds on the screen as it is."""
        return await self.do("axe")

    async def too_wide(self) -> Sequence[str]:
        """Name what stands out of the screen."""
        return await self.do("overflow")

    async def trouble(self) -> tuple[list[str], list[str]]:
        """Tell what the browser complained of, and requests to other hosts."""
        told = await self.do("trouble")
        return told["complaints"], told["strangers"]


@contextlib.asynccontextmanager
async def a_person() -> AsyncIterator[Person]:
    """Start a browser, and end it and its driver."""
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", "--", "node", str(SCRIPT), str(find_executable(None)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * 2**20,
    )  # fmt: skip
    try:
        yield Person(process)
    finally:
        assert process.stdin is not None
        # At the end of what it is told, the driver closes its browser itself.
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
