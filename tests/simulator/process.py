"""The simulator as a child process of a test: started, killed, started again."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.simulator.certificate import HOST, ensure, pin_of_file
from tests.simulator.phone import Phone

ROOT = Path(__file__).parents[2]


class SimulatorDiedError(Exception):
    """The child process ended before it listened; the log it wrote is the message."""


class Simulator:
    """A simulator on one data folder. Its port stays the same when it is started again."""

    def __init__(
        self, data: Path, knobs: dict[str, object] | None = None, *, port: int = 0
    ) -> None:
        self.data = data
        self.port = port
        self._knobs = knobs or {}
        self._process: asyncio.subprocess.Process | None = None
        self._phone: Phone | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, if it was started."""
        return None if self._process is None else self._process.pid

    @property
    def pin(self) -> str:
        """What Chromium's `--ignore-certificate-errors-spki-list` takes."""
        return pin_of_file(ensure(self.data)[0])

    @property
    def chromium_flags(self) -> list[str]:
        """The flags that make web.whatsapp.com this simulator, and everything else nothing."""
        return [
            f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{self.port}, MAP * ~NOTFOUND,"
            " EXCLUDE 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={self.pin}",
        ]

    @property
    def phone(self) -> Phone:
        """The phones of this simulator."""
        if self._phone is None:
            raise RuntimeError("the simulator has not been started")
        return self._phone

    async def start(self, timeout: float = 60) -> None:
        """Start it and wait until it listens.

        To be called from a thread that lives as long as the simulator is to: the kernel
        kills it when the thread that started it ends.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        ready = self.data / "url"
        ready.unlink(missing_ok=True)
        log_path = self.data / "simulator.log"
        with log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.simulator",
                "--port", str(self.port), "--data", str(self.data), "--ready-file", str(ready),
                "--config", json.dumps(self._knobs), "--die-with-parent", str(os.getpid()),
                cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(timeout):
            while not ready.exists():
                if self._process.returncode is not None:
                    raise SimulatorDiedError(log_path.read_text()[-2000:])
                await asyncio.sleep(0.02)
        url = ready.read_text().strip()
        self.port = int(url.rpartition(":")[2])
        if self._phone is None:
            self._phone = Phone(url)

    async def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a crash would: `kill -9`."""
        await self._end(signal.SIGKILL)

    async def close(self) -> None:
        """Stop it for good."""
        await self.stop()
        if self._phone is not None:
            await self._phone.close()
            self._phone = None

    async def _end(self, with_signal: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(with_signal)
        return await self._process.wait()


@asynccontextmanager
async def simulator(data: Path, *, port: int = 0, **knobs: object) -> AsyncIterator[Simulator]:
    """A running simulator for the length of a test."""
    running = Simulator(data, knobs, port=port)
    await running.start()
    try:
        yield running
    finally:
        await running.close()
