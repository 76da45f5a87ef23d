"""A thousand live connections on one gateway: `python -m tests.gateway.crowd`.

A third on each door. Every session says something each second; what each connection
heard is compared with the log, event by event: each once, and in order. The gateway's
memory is measured all the while.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil

from actors.machine.ports import free_port
from events import subjects
from events.connection import connect as nats_connect
from events.message import Received
from events.streams import declare
from events.subjects import SessionId
from gateway import frames
from tests import services
from tests.gateway.conftest import settings_for
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.sockets import Socket

KEY = "the-crowds-key"
SESSIONS = 100
MEGABYTE = 2**20


class Crowd:
    """The connections, and what each heard, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[list[str]] = []
        self.open = 0
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def lost(self) -> int:
        """How many connections have ended."""
        return sum(task.done() for task in self.tasks)

    async def join(self, number: int) -> None:
        """Open one connection, and go on reading it."""
        doors: list[Callable[[int, str], Awaitable[None]]] = [
            self._websocket,
            self._stream,
            self._socketio,
        ]
        self.heard.append([])
        door = doors[number % len(doors)]
        self.tasks.append(asyncio.create_task(door(number, f"user-{number % SESSIONS}")))

    async def _websocket(self, number: int, session: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        socket = Socket(reader, writer)
        query = urlencode({"session": session, "api_key": KEY})
        await socket.handshake("127.0.0.1", f"/ws?{query}", [])
        self.open += 1
        while True:
            frame = await socket.frame(3_600)
            if frame["event"] == "message-received":
                self.heard[number].append(_said(frame["payload"]))

    async def _stream(self, number: int, session: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        query = urlencode({"session": session, "api_key": KEY})
        writer.write(f"GET /api/events?{query} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        event = b""
        while line := await reader.readline():
            self.open += line.startswith(b"HTTP/1.1 200")
            if line.startswith(b"event: "):
                event = line.strip()
            if line.startswith(b"data: ") and event == b"event: message-received":
                told = json.loads(line.removeprefix(b"data: "))
                self.heard[number].append(_said(told["payload"]))

    async def _socketio(self, number: int, session: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        socket = Packets(reader, writer)
        await socket.handshake("127.0.0.1", "/socket.io/?EIO=4&transport=websocket", [])
        await socket.say("40" + json.dumps({"token": KEY}))
        while True:
            match await socket.packet():
                case "2":
                    await socket.say("3")
                case text if text.startswith("40"):
                    await socket.say("42" + json.dumps(["subscribe:session", session]))
                    self.open += 1
                case text if text.startswith('42["message-received"'):
                    self.heard[number].append(_said(json.loads(text[2:])[1]))
                case _:
                    pass


def _said(payload: dict[str, Any]) -> str:
    return payload["message"]["body"]


class Packets(Socket):
    """A WebSocket that speaks Engine.IO."""

    def _read(self, text: str) -> Any:
        return text

    async def packet(self) -> str:
        packet: Any = await self.frame(3_600)
        return packet


async def measure(count: int, seconds: int, home: Path) -> bool:
    """Open, hold and report; tell whether all went well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * count)), hard))
    with services.nats_server(home) as nats, services.redis_server(home) as redis:
        settings = settings_for(nats.url, home)
        client = await nats_connect(settings, "node", name="crowd", patience=5)
        await declare(client.jetstream(), settings)
        node = ScriptedNode(client, FakeReads())
        port = free_port()
        gateway = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            env=os.environ
            | {"NATS_URL": nats.url, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)}
            | {"DATA_DIR": str(home), "PORT": str(port), "API_KEY": KEY, "LOG_LEVEL": "warning"},
        )
        try:
            return await _hold(Crowd(port), gateway.pid, node, count, seconds)
        finally:
            gateway.terminate()
            began = time.monotonic()
            await gateway.wait()
            print(f"ended in {time.monotonic() - began:.1f} s, status {gateway.returncode}")
            await client.close()


async def _hold(crowd: Crowd, pid: int, node: ScriptedNode, count: int, seconds: int) -> bool:
    process = psutil.Process(pid)

    def memory() -> float:
        return process.memory_info().rss / MEGABYTE

    await _until_up(crowd.port)
    empty = memory()
    for number in range(count):
        await crowd.join(number)
        if number % 20 == 19:
            while crowd.open + crowd.lost < number + 1:
                await asyncio.sleep(0.01)
    opened = memory()
    print(f"{count} connections: {empty:.1f} MB before, {opened:.1f} MB with all of them")
    await asyncio.sleep(2)
    began, used = time.monotonic(), sum(process.cpu_times()[:2])
    rounds, held = 0, list[float]()
    while time.monotonic() - began < seconds:
        rounds += 1
        for number in range(SESSIONS):
            await node.pour(SessionId("user", str(number)), [f"round {rounds}"])
        await asyncio.sleep(max(0.0, rounds - (time.monotonic() - began)))
        held.append(memory())
        if rounds % 10 == 1:
            print(f"  {rounds:4} s  {held[-1]:.1f} MB")
    took = time.monotonic() - began
    cpu = (sum(process.cpu_times()[:2]) - used) / took
    give_up = time.monotonic() + 30
    while min(map(len, crowd.heard)) < rounds and time.monotonic() < give_up:
        await asyncio.sleep(0.1)
    told = await _told(node)
    wanted = [told[f"user-{number % SESSIONS}"] for number in range(count)]
    right = sum(heard == said for heard, said in zip(crowd.heard, wanted, strict=True))
    twice = sum(len(heard) - len(set(heard)) for heard in crowd.heard)
    missed = sum(len({*said} - {*heard}) for heard, said in zip(crowd.heard, wanted, strict=True))
    half = held[len(held) // 2 :]
    print(
        f"held for {took:.0f} s: {held[-1]:.1f} MB at the end, {max(half) - min(half):.1f} MB "
        f"between highest and lowest of the second half, {cpu:.0%} of a core; "
        f"{right} of {count} heard each of their {min(map(len, wanted))} to "
        f"{max(map(len, wanted))} events once and in order, {sum(map(len, crowd.heard))} frames "
        f"in all, {missed} missed, {twice} twice; {crowd.lost} connections lost"
    )
    for task in crowd.tasks:
        task.cancel()
    return right == count


async def _told(node: ScriptedNode) -> dict[str, list[str]]:
    """Read from the log what each session said: what is not there, nobody could hear."""
    told: dict[str, list[str]] = {}
    async for stored in node.log.read([subjects.ALL_MESSAGE_EVENTS]):
        event = frames.decoded(stored)
        if event is not None and isinstance(event.payload, Received):
            told.setdefault(event.session.joined, []).append(event.payload.body)
    return told


async def _until_up(port: int) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            try:
                answer = await http.get(f"http://127.0.0.1:{port}/health/ready")
                if answer.is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.crowd", description=__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wa-crowd-") as home:
        return 0 if asyncio.run(measure(given.connections, given.seconds, Path(home))) else 1


if __name__ == "__main__":
    sys.exit(main())
