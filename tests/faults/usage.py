"""What processes use: memory, threads, open files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

MB = 1_048_576


@dataclass(frozen=True, slots=True)
class Usage:
    """Some processes together.

    Shared pages count in shares in `pss_mb`, in full in `rss_mb`, not at all in `uss_mb`.
    Shares fall when somebody else on the machine starts the same program.
    """

    processes: int = 0
    zombies: int = 0
    threads: int = 0
    files: int = 0
    pss_mb: float = 0.0
    rss_mb: float = 0.0
    uss_mb: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Add up."""
        return Usage(
            self.processes + other.processes,
            self.zombies + other.zombies,
            self.threads + other.threads,
            self.files + other.files,
            self.pss_mb + other.pss_mb,
            self.rss_mb + other.rss_mb,
            self.uss_mb + other.uss_mb,
        )


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it, those too that ended and were not reaped."""
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def usage(processes: Iterable[psutil.Process]) -> Usage:
    """Measure; what ended meanwhile counts nothing. Blocking: some milliseconds a process."""
    return sum((_one(process) for process in processes), Usage())


def _one(process: psutil.Process) -> Usage:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return Usage(processes=1, zombies=1)
        memory = process.memory_full_info()
        return Usage(
            processes=1,
            threads=process.num_threads(),
            files=process.num_fds(),
            pss_mb=memory.pss / MB,
            rss_mb=memory.rss / MB,
            uss_mb=memory.uss / MB,
        )
    except (psutil.Error, OSError):
        return Usage()


def pss_mb(process: psutil.Process) -> float:
    """Measure only that, 0 if it ended: half of what `usage` costs. Blocking."""
    try:
        told = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in told.splitlines() if line.startswith("Pss:")]
    return sum(map(int, found)) / 1024


def entries(*folders: Path) -> int:
    """Count the files and folders below these; what vanishes meanwhile does not count."""
    walks = (os.walk(folder) for folder in folders)
    return sum(len(below) + len(files) for walk in walks for _, below, files in walk)
