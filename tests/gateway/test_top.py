"""`wa top` against a gateway that serves: in a pipe, and on a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from events.subjects import SessionId
from tests.gateway.conftest import KEY, Running, key_for
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")


def command(running: Running, key: str, *more: str) -> list[str]:
    wa = [sys.executable, "-m", "gateway.cli.main"]
    return [*wa, "--url", running.url, "--api-key", key, "top", *more]


async def test_in_a_pipe_it_is_one_table_and_the_end(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.suspended(TWO)

    process = await asyncio.create_subprocess_exec(
        *command(running, KEY), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    lines = out.decode().splitlines()
    assert process.returncode == 0
    assert "1 suspended  1 ready" in lines[1]
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["user-two", "suspended"],
        ["user-one", "ready"],
    ]
    assert "\x1b" not in out.decode()


async def test_a_users_key_watches_that_users_sessions(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.ready(SessionId("somebody", "else"))
    key = await key_for(running.http, "user", "read")

    process = await asyncio.create_subprocess_exec(
        *command(running, key), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert "user-one" in out.decode()
    assert "somebody" not in out.decode()


class Screen:
    """What was written to a terminal so far."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream

    async def until(self, seen: Callable[[str], bool]) -> str:
        """Read on until it is seen; return what was written meanwhile."""
        new = ""
        async with asyncio.timeout(30):
            while not seen(new):
                new += (await self._stream.read(65_536)).decode(errors="replace")
        return new


def frames(text: str) -> list[str]:
    """Part what was written into the frames that are whole."""
    return text.split("wa top")[1:-1]


@asynccontextmanager
async def on_a_terminal(
    arguments: list[str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Screen]]:
    """Run a program on a terminal of 120 columns and 30 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=theirs,
        stdout=theirs,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(ours, "rb", buffering=0)
    )
    try:
        yield process, Screen(stream)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        transport.close()


async def test_on_a_terminal_it_goes_on_until_it_is_told_to_end(
    running: Running, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.ready(ONE)

    async with on_a_terminal(command(running, KEY, "--interval", "0.1")) as (process, screen):
        await screen.until(lambda text: "user-one" in text)
        await node.suspended(TWO)
        # A look asks three routes one after the other, so the counts may follow a look later.
        later = ("user-two", "turned away", "1 suspended")
        await screen.until(lambda text: all(word in text for word in later))
        reads.away = True
        await screen.until(lambda text: "No newer look" in text)
        reads.away = False
        await screen.until(lambda text: any("No newer look" not in each for each in frames(text)))
        process.send_signal(signal.SIGINT)
        left = await screen.until(lambda text: "\x1b[?1049l" in text)
        ended = await process.wait()

    assert ended == 130
    assert "Traceback" not in left
