"""A part of the service: one child process, started, watched, restarted and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from events.backoff import Backoff

Say = Callable[[str, str], None]
"""Tell the person at the terminal: the part's name and a line."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_BACKOFF = Backoff(first=0.5, most=30.0)
_QUIET = 60.0
"""Seconds a part must run before its earlier deaths are forgotten."""


class DidNotStart(Exception):
    """A part is missing, ended at once, or did not answer in time. Says what it said last."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to run a part. Times are seconds.

    `ready` returns when the part serves, and does not if it never will.
    `shown` tells which of its lines go to the terminal; the last ones are
    remembered either way.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[None]]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    stdin: bytes = b""
    start_within: float = 60
    stop_within: float = 10
    shown: Callable[[str], bool] = lambda _line: True
    mend: str = ""


class Part:
    """One child process. Make, start and keep it on the main thread's loop.

    The kernel kills the child when the *thread* that spawned it ends, so a
    thread of a pool would take its children with it.
    """

    def __init__(self, recipe: Recipe, say: Say) -> None:
        self._recipe = recipe
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=12)
        self._stopping = False

    @property
    def name(self) -> str:
        """What it is called in the terminal."""
        return self._recipe.name

    async def start(self) -> float:
        """Start it and wait until it serves; return the seconds that took. Raises DidNotStart."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        process = await self._spawn()
        ended = asyncio.create_task(process.wait())
        ready = asyncio.ensure_future(self._recipe.ready())
        try:
            while not ready.done():
                await asyncio.wait({ended, ready}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
                took = loop.time() - began
                if ended.done():
                    await self._drained()
                    raise DidNotStart(self._obituary(f"ended at once ({_status(ended.result())})"))
                if took > self._recipe.start_within:
                    raise DidNotStart(self._obituary(f"does not answer after {took:.0f} s"))
                if not ready.done():
                    self._say(self.name, f"not up yet after {took:.0f} s")
            ready.result()
        finally:
            await call_off(ended, ready)
        return loop.time() - began

    async def keep(self) -> None:
        """Start it again whenever it dies, ever more slowly while it keeps dying."""
        loop = asyncio.get_running_loop()
        deaths = 0
        began = loop.time()
        while not self._stopping:
            process = self._process
            if process is not None:
                status = await process.wait()
                await self._drained()
                # What the child started and left behind must not outlive it.
                _kill_group(process.pid)
                if self._stopping:
                    return
                deaths = 1 if loop.time() - began > _QUIET else deaths + 1
                delay = _BACKOFF.delay(deaths, self.name)
                self._tell_last()
                self._say(self.name, f"died ({_status(status)}); starting it in {delay:.1f} s")
                await asyncio.sleep(delay)
            if self._stopping:
                return
            began = loop.time()
            try:
                await self._spawn()
            except DidNotStart as error:
                self._process = None
                deaths += 1
                self._say(self.name, str(error))
                await asyncio.sleep(_BACKOFF.delay(deaths, self.name))

    async def stop(self) -> None:
        """Ask it to end; kill it and all it started if it does not in time."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self._recipe.stop_within)
            except TimeoutError:
                self._say(self.name, f"still there after {self._recipe.stop_within:.0f} s: killed")
        _kill_group(process.pid)
        await process.wait()
        await self._drained()

    def kill(self) -> None:
        """End it now, without asking."""
        self._stopping = True
        if self._process is not None:
            _kill_group(self._process.pid)

    async def _spawn(self) -> asyncio.subprocess.Process:
        parent = os.getpid()

        def die_with_us() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # We may have died just before the child asked; then nobody tells it.
            if os.getppid() != parent:
                os._exit(1)

        try:
            process = await asyncio.create_subprocess_exec(
                *self._recipe.command,
                env={**os.environ, **self._recipe.environment},
                stdin=asyncio.subprocess.PIPE if self._recipe.stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # A session of its own: Ctrl-C reaches us only, and we stop the parts in order.
                start_new_session=True,
                preexec_fn=die_with_us,
            )
        except OSError as error:
            raise DidNotStart(f"{self.name}: {self._recipe.command[0]}: {error.strerror}") from None
        self._process = process
        self._last.clear()
        if process.stdout is not None:
            self._output = asyncio.create_task(self._pass_on(process.stdout))
        if process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(self._recipe.stdin)
                await process.stdin.drain()
            process.stdin.close()
        return process

    async def _pass_on(self, output: asyncio.StreamReader) -> None:
        """Hand on the part's lines, and remember the last of them."""
        rest = b""
        # Not readline(): it gives up on a line that is longer than its buffer.
        while chunk := await output.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > 1_000_000:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._hear(line)
        if rest:
            self._hear(rest)

    def _hear(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if line:
            self._last.append(line)
            if self._recipe.shown(line):
                self._say(self.name, line)

    async def _drained(self) -> None:
        """Wait for the last lines; a grandchild that holds the pipe may not keep us."""
        if self._output is not None:
            await asyncio.wait({self._output}, timeout=0.5)
            self._output.cancel()

    def _tell_last(self) -> None:
        for line in self._last:
            if not self._recipe.shown(line):
                self._say(self.name, line)

    def _obituary(self, what: str) -> str:
        mend = f" {self._recipe.mend}" if self._recipe.mend else ""
        return "\n".join([f"{self.name} {what}.{mend}", *(f"  | {line}" for line in self._last)])


async def call_off(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and wait until they have ended.

    Once is not enough: until Python 3.12 `wait_for`, which nats-py uses for every
    request, loses a cancellation that comes in the same moment as its result.
    """
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.2)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _status(returncode: int) -> str:
    return signal.Signals(-returncode).name if returncode < 0 else f"status {returncode}"
