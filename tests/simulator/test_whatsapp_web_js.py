"""Unmodified whatsapp-web.js takes the simulator for WhatsApp Web."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.simulator.browser import CHROMIUM, Json
from tests.simulator.process import Simulator, simulator

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parent / "whatsapp_web_js.mjs"
ME, ALICE = "15550001111", "15557654321"


class WhatsAppWebJs:
    """The library in a node process: its events, and calls to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._changed = asyncio.Event()
        self.events: list[tuple[str, Json]] = []
        self._reading = asyncio.create_task(self._read())

    def values(self, name: str) -> list[Json]:
        """What came under that event's name."""
        return [value for event, value in self.events if event == name]

    async def event(self, name: str, matching: object = None, *, timeout: float = 60) -> Json:
        """Wait for an event; with `matching`, for one that equals it or has its fields."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for value in self.values(name):
                        if matching is None or value == matching or _has(value, matching):
                            return value
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise TimeoutError(f"no event {name} {matching or ''} among {self.events}") from error

    async def call(self, name: str, *arguments: object) -> Json:
        """Call the library."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"id": number, "call": name, "args": arguments}).encode() + b"\n"
        )
        return await asyncio.wait_for(self._answers[number], 60)

    async def close(self) -> None:
        """End node and its browser."""
        if self._process.returncode is None:
            # What does not go by itself is killed below.
            with suppress(TimeoutError, RuntimeError, ConnectionError):
                await asyncio.wait_for(self.call("destroy"), 30)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._reading.cancel()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            heard = json.loads(line)
            if "event" in heard:
                self.events.append((heard["event"], heard["value"]))
                self._changed.set()
            elif "error" in heard:
                self._answers[heard["answer"]].set_exception(RuntimeError(heard["error"]))
            else:
                self._answers[heard["answer"]].set_result(heard["value"])


def _has(value: object, fields: object) -> bool:
    return isinstance(value, dict) and isinstance(fields, dict) and fields.items() <= value.items()


@asynccontextmanager
async def library(server: Simulator, folder: Path) -> AsyncIterator[WhatsAppWebJs]:
    flags = [
        *server.chromium_flags,
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]
    options = {"executable": str(CHROMIUM), "args": flags, "folder": str(folder)}
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", "--", "node", str(SCRIPT), json.dumps(options),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    driven = WhatsAppWebJs(process)
    try:
        yield driven
    finally:
        await driven.close()


async def test_it_goes_from_qr_to_ready_sends_receives_restarts_and_logs_out(
    tmp_path: Path,
) -> None:
    async with simulator(tmp_path / "sim") as server:
        phone = server.phone

        async with library(server, tmp_path) as client:
            qr = await client.event("qr")
            await phone.scan(str(qr), number=ME, pushname="Me")
            await client.event("authenticated")
            await client.event("ready")
            assert await client.call("info") == {"wid": f"{ME}@c.us", "pushname": "Me"}
            assert await client.call("state") == "CONNECTED"

            sent = await client.call("send", f"{ALICE}@c.us", "hello")
            for ack in (1, 2, 3):
                await client.event("message_ack", {"id": sent["id"], "ack": ack})
            await phone.incoming(ME, ALICE, "hi there")
            await client.event("message", {"body": "hi there", "from": f"{ALICE}@c.us"})
            assert [m["body"] for m in await client.call("history", f"{ALICE}@c.us", 10)] == [
                "hello",
                "hi there",
            ]
            assert await client.call("isRegistered", ALICE) is True
            assert [c["unreadCount"] for c in await client.call("chats")] == [1]
            await client.call("seen", f"{ALICE}@c.us")
            await client.call("typing", f"{ALICE}@c.us")
            assert client.values("console") == []

        await phone.incoming(ME, ALICE, "while away")

        async with library(server, tmp_path) as client:
            await client.event("ready")
            assert client.values("qr") == []
            history = await client.call("history", f"{ALICE}@c.us", 10)
            assert [m["body"] for m in history] == ["hello", "hi there", "while away"]
            await client.call("logout")
            assert client.values("console") == []

        assert await phone.devices(ME) == []


async def test_it_hears_that_the_phone_unlinked_it_and_shows_a_new_qr(tmp_path: Path) -> None:
    async with simulator(tmp_path / "sim") as server, library(server, tmp_path) as client:
        await server.phone.scan(str(await client.event("qr")), number=ME)
        await client.event("ready")
        shown = len(client.values("qr"))

        await server.phone.unlink(ME)

        await client.event("disconnected", "LOGOUT")
        async with asyncio.timeout(60):
            while len(client.values("qr")) <= shown:
                await asyncio.sleep(0.05)


async def test_it_knows_groups_and_chats_under_a_lid(tmp_path: Path) -> None:
    async with simulator(tmp_path / "sim") as server, library(server, tmp_path) as client:
        phone = server.phone
        group = await phone.group("Friends", [ME, ALICE])
        bob = await phone.contact("15558887777", lid_chat=True)
        await phone.scan(str(await client.event("qr")), number=ME)
        await client.event("ready")

        to_group = await client.call("send", group, "hello all")
        to_bob = await client.call("send", bob.wid, "hello Bob")
        await phone.incoming(ME, ALICE, "hello you", group=group)
        await phone.incoming(ME, bob.number, "hello from a lid")

        assert to_bob["to"] == bob.lid
        await client.event("message_ack", {"id": to_group["id"], "ack": 3})
        await client.event("message_ack", {"id": to_bob["id"], "ack": 3})
        await client.event("message", {"from": group, "author": f"9{ALICE}@lid"})
        await client.event("message", {"from": bob.lid, "body": "hello from a lid"})
        chats = {chat["id"]: chat for chat in await client.call("chats")}
        assert chats.keys() == {group, bob.lid}
        assert (chats[group]["name"], chats[group]["isGroup"]) == ("Friends", True)
        assert client.values("console") == []


async def test_it_links_by_a_code_typed_on_the_phone(tmp_path: Path) -> None:
    async with simulator(tmp_path / "sim") as server, library(server, tmp_path) as client:
        await client.event("qr")

        code = await client.call("pair", ME)

        await server.phone.enter(str(code), number=ME)
        await client.event("ready")
