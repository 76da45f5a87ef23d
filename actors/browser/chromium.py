"""One Chromium process: started, watched, ended, reaped.

Not pyppeteer's launcher: that one blocks the loop for up to 30 s, touches
signals off the main thread and leaves zombies. Not asyncio's subprocesses
either: off the main thread they cost a waiting thread per browser, and uvloop
does them differently. A pidfd and a pipe on the loop need neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import psutil
import structlog

from actors.browser.executable import is_headless_shell
from actors.browser.profile import Profile
from actors.browser.protocol import LaunchFailed, NoBrowser, PageGone

log = structlog.get_logger()

_ENDPOINT = re.compile(r"DevTools listening on (ws://\S+)")
# The limit of a unix socket's path, less what Chromium adds below TMPDIR.
_SOCKET_ROOM = 108 - len("/org.chromium.Chromium.XXXXXX/SingletonSocket")
_PASSED_ON = (
    *("PATH", "LANG", "LANGUAGE", "LC_ALL", "TZ", "LD_LIBRARY_PATH"),
    *("FONTCONFIG_FILE", "FONTCONFIG_PATH"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)


_STILL = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE})

STILL_LOOKS = 100
"""How often it is looked whether every process of a browser has stopped."""

STILL_PAUSE = 0.01
"""Seconds between two looks."""


class Chromium:
    """A browser process of our own, with its whole process group."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._stderr = _Lines()
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """The process id while the process runs."""
        return self._process.pid if self._process and not self.exited.done() else None

    async def start(self, command: Sequence[str], timeout: float) -> str:
        """Start it and return its DevTools endpoint.

        Must be called on the loop's thread: the parent-death signal fires when
        the *thread* that spawned ends, not the process. Raises NoBrowser,
        LaunchFailed; nothing is left running then.
        """
        self._spawn(command)
        endpoint = asyncio.ensure_future(self._stderr.endpoint)
        await asyncio.wait(
            {endpoint, self.exited}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if endpoint.done():
            return endpoint.result()
        if self.exited.done():
            raise LaunchFailed(f"the browser {self.exited.result()}; it said: {self._stderr.tail}")
        await self.kill()
        raise LaunchFailed(
            f"the browser did not open its DevTools port within {timeout:g} s; "
            f"it said: {self._stderr.tail}"
        )

    def _spawn(self, command: Sequence[str]) -> None:
        # setpriv sets the parent-death signal in the child and execs, so the pid stays.
        # A preexec_fn would run Python between fork and exec of a threaded process,
        # where any lock held by another thread is held for ever.
        prefix = _death_signal()
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writing, True)
        try:
            self._process = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=writing,
                start_new_session=True,
                env=self._environment(Path(command[0])),
            )
        except OSError as error:
            os.close(reading)
            raise NoBrowser(f"{command[0]} cannot be executed: {error.strerror}") from error
        finally:
            os.close(writing)
        self._stderr.follow(reading)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
            self._profile.write_record(self._process.pid)
        except OSError as error:
            # Unwatched it would never be reaped: a full disk, or Linux before 5.3.
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            self._stderr.close()
            self.exited.set_result("was not let live")
            raise LaunchFailed(f"the browser cannot be watched: {error}") from error
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    def _environment(self, executable: Path) -> dict[str, str]:
        # Not ours as a whole: it holds keys that a page must not be able to reach.
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["HOME"] = str(self._profile.path)
        # The full browser binds a socket below it, and a socket's path is short.
        temporary = str(self._profile.temporary)
        if is_headless_shell(executable) or len(temporary) <= _SOCKET_ROOM:
            environment["TMPDIR"] = temporary
        return environment

    def _on_exit(self) -> None:
        """Reap. The group dies first: until the reaping its id cannot be anybody else's."""
        if self._process is None or self._pidfd is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = None
        self._signal_group(signal.SIGKILL)
        status = self._process.wait()
        self._stderr.close()
        if not self.exited.done():
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            self.exited.set_result(how)

    async def wait(self, timeout: float) -> bool:
        """Wait for the end of the process; tells whether it came."""
        await asyncio.wait({self.exited}, timeout=timeout)
        return self.exited.done()

    async def still(self, work: Callable[[], None]) -> None:
        """Do something in a thread while no process of the group runs.

        What they have written is then as after a kill at one instant, which is what
        their databases are made to survive. Raises PageGone if it ended, or does not
        hold still, and whatever `work` raises.
        """
        process = self._process
        if process is None or self.exited.done():
            raise PageGone("the browser has ended")

        self._signal_group(signal.SIGSTOP)
        try:
            await _until_stopped(process.pid)
            await asyncio.to_thread(work)
        finally:
            if not self.exited.done():
                self._signal_group(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask the process to end, where there is no connection to ask over."""
        if self._process is not None and not self.exited.done():
            self._process.terminate()

    async def kill(self) -> None:
        """Kill the whole group and reap it."""
        if self._process is None or self.exited.done():
            return
        self._signal_group(signal.SIGKILL)
        # Only a process in uninterruptible sleep outlives SIGKILL: the record is
        # there for the next life, and the watch on the pidfd for this one.
        await self.wait(10)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


async def _until_stopped(group: int) -> None:
    for _ in range(STILL_LOOKS):
        if await asyncio.to_thread(_all_stopped, group):
            return
        await asyncio.sleep(STILL_PAUSE)
    raise PageGone("the browser does not hold still")


def _all_stopped(group: int) -> bool:
    """Tell whether no process of a group runs. The signal stops one after the other."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == group and process.status() not in _STILL:
                return False
    return True


@cache
def _death_signal() -> tuple[str, ...]:
    """Return what makes the kernel kill a browser with us, where the tool for it is installed."""
    if setpriv := shutil.which("setpriv"):
        return (setpriv, "--pdeathsig", "KILL", "--")
    log.warning("browser.no_death_signal", missing="setpriv (util-linux)")
    return ()


class _Lines:
    """What the browser says on stderr: read to the end, or it would block on a full pipe."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=5)
        self._rest = b""
        self._pipe: int | None = None
        self.endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def tail(self) -> str:
        """The last lines, for an error message."""
        return " | ".join(self._last) or "nothing"

    def follow(self, pipe: int) -> None:
        self._pipe = pipe
        asyncio.get_running_loop().add_reader(pipe, self._read)

    def close(self) -> None:
        if self._pipe is None:
            return
        self._read()
        self._stop()

    def _stop(self) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, 65536) if self._pipe is not None else b""
        except BlockingIOError:
            return
        if not chunk:
            self._stop()
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        # A line without an end must not grow without bound.
        self._rest = self._rest[-4096:]
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text:
                self._last.append(text[-300:])
            found = _ENDPOINT.search(text)
            if found and not self.endpoint.done():
                self.endpoint.set_result(found[1])
