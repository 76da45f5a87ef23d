"""One part of a site as a process: killed, frozen, thawed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclass
class Process:
    """One part: killed, frozen, thawed and started again on the same data. One thread only."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    said: Path
    stdin: bytes = b""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and do not wait until it serves."""
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE if self.stdin else subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        if self._process.stdin is not None:
            self._process.stdin.write(self.stdin)
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def freeze(self) -> None:
        """Let it keep its sockets and do nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    async def stop(self, within: float = 30) -> None:
        """Ask it to end; kill it if it does not in time."""
        self.thaw()
        self.signal(signal.SIGTERM)
        give_up = time.monotonic() + within
        while self.running and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        self.kill()

    def tail(self, lines: int = 15) -> str:
        """Return what it said last."""
        return "\n".join(self.said.read_text(errors="replace").splitlines()[-lines:])


def kill(process: psutil.Process) -> None:
    """Kill a process that may be gone."""
    with contextlib.suppress(psutil.Error):
        process.kill()
