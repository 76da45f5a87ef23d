"""What browsers cost: proportional memory and CPU of a process tree, and what the machine has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

MB = 1_048_576


@dataclass(frozen=True, slots=True)
class Cost:
    """Proportional set size in MB, and CPU seconds used since the processes began."""

    memory_mb: int
    cpu_seconds: float


class Machine(Protocol):
    """What sessions and the pool ask about the machine. Blocking; not for the loop thread."""

    def cost(self, pid: int) -> Cost | None:
        """Measure a browser and all its children; None if it is gone."""
        ...

    def available_mb(self) -> int:
        """Return the memory that could be used without swapping."""
        ...


_GROUP = Path("/sys/fs/cgroup")


class LinuxMachine:
    """Reads /proc, and the limit of the container that we are in."""

    def __init__(self, group: Path = _GROUP) -> None:
        self._group = group

    def cost(self, pid: int) -> Cost | None:
        """See Machine.cost."""
        if not psutil.pid_exists(pid):
            return None
        memory, cpu = 0, 0.0
        for each in tree(pid):
            try:
                memory += _pss(each)
                times = psutil.Process(each).cpu_times()
                cpu += times.user + times.system
            except (psutil.Error, OSError):
                continue  # A renderer that ended meanwhile costs nothing any more.
        return Cost(memory // MB, cpu)

    def available_mb(self) -> int:
        """See Machine.available_mb."""
        machine = psutil.virtual_memory().available
        return min(machine, _room(self._group, machine)) // MB


def _room(group: Path, unlimited: int) -> int:
    """Return what a container may still take, in bytes: at its limit the kernel kills.

    /proc tells of the whole machine, whatever the container's limit is. This is version 2
    of the control groups, which every Debian of these years uses.
    """
    try:
        most, held = (group / "memory.max").read_text(), (group / "memory.current").read_text()
        told = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return unlimited  # No container, or one without such a limit.
    if most.strip() == "max":
        return unlimited
    # Files that were read and may be forgotten count as held, and are free all the same.
    idle = next((int(line.split()[1]) for line in told if line.startswith("inactive_file ")), 0)
    return max(0, int(most) - int(held) + idle)


def tree(pid: int) -> list[int]:
    """List a process and all below it, the nearer first. Blocking.

    Each is asked for its own children. psutil looks at every process of the machine
    instead: with a hundred browsers that took 13 ms for each that was weighed, this 2.
    """
    found = [pid]
    for each in found:
        try:
            for told in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, told.read_text().split())
        except OSError:
            continue  # It ended, or one of its threads did.
    return found


def _pss(pid: int) -> int:
    """Read the proportional set size in bytes: shared pages count in shares, not in full."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
