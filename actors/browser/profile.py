"""A profile folder: one browser at a time, and a note of which."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from actors.browser.protocol import ProfileBusy

LOCK = ".wa.lock"
RECORD = ".wa.browser.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What a browser that was killed leaves; the next one would wait for it, or read
# the DevTools port of a process that is no more.
_STALE = ("SingletonLock", "SingletonSocket", "SingletonCookie", "DevToolsActivePort")


@dataclass(frozen=True, slots=True)
class Record:
    """Which process runs on a profile: a pid alone may be somebody else's tomorrow."""

    pid: int
    started: int  # clock ticks since boot, as /proc tells
    boot: str


class Profile:
    """One folder, locked while a browser of ours is on it."""

    def __init__(self, path: Path) -> None:
        # Chromium's working directory is not ours to rely on.
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def temporary(self) -> Path:
        """Where the browser's temporary files go, instead of the system's folder."""
        return self.path / "tmp"

    def take(self) -> None:
        """Lock the folder and clear what a killed browser left. Raises ProfileBusy.

        headless-shell has no lock of its own: two of them on one folder would
        corrupt it. The kernel drops this one when its owner dies.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ProfileBusy(f"another process uses the profile {self.path}") from None
        self._lock = lock
        for name in _STALE:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(mode=0o700)

    def release(self) -> None:
        """Give the folder back; again is no error."""
        if self._lock is None:
            return
        shutil.rmtree(self.temporary, ignore_errors=True)
        (self.path / RECORD).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def write_record(self, pid: int) -> None:
        """Note which process runs here, for the life after a crash of ours."""
        started = started_at(pid)
        if started is not None:
            record = {"pid": pid, "started": started, "boot": boot_id()}
            (self.path / RECORD).write_text(json.dumps(record))

    def read_record(self) -> Record | None:
        """Return the note, if there is one that can be read."""
        try:
            record = json.loads((self.path / RECORD).read_bytes())
            return Record(int(record["pid"]), int(record["started"]), str(record["boot"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, or None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in parentheses and may hold spaces; the start is the 22nd.
    return int(stat.rpartition(")")[2].split()[19])


def boot_id() -> str:
    """Which boot of the machine this is: pids and ticks count from it."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
