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
        """Tell what a browser and all its children cost; None if it is gone."""
        ...

    def available_mb(self) -> int:
        """Return the memory that could be used without swapping."""
        ...


_GROUP = Path("/sys/fs/cgroup")


MEASURED = 5
"""Of so many looks at a browser one measures it, for which the kernel walks all its pages."""


@dataclass(slots=True)
class _Measured:
    """A browser at its last measurement; memory in bytes."""

    processes: list[int]
    memory: int
    own: int
    looks: int = 1


class LinuxMachine:
    """Reads /proc, and the limit of the container that we are in."""

    def __init__(self, group: Path = _GROUP) -> None:
        self._group = group
        self._measured: dict[int, _Measured] = {}

    def cost(self, pid: int) -> Cost | None:
        """See Machine.cost.

        Between two measurements it is the last one and what the processes have taken for
        themselves since, which the kernel counts as it goes; code they share stays as it is.
        """
        if not psutil.pid_exists(pid):
            return None
        known = self._measured.get(pid)
        if known is None or known.looks >= MEASURED:
            return self._measure(pid)
        known.looks += 1
        try:
            memory = known.memory + sum(map(_own, known.processes)) - known.own
            return Cost(max(0, memory) // MB, sum(map(_cpu, known.processes)))
        except (psutil.Error, OSError):
            return self._measure(pid)  # Other processes than those make it up by now.

    def _measure(self, pid: int) -> Cost:
        for gone in [each for each in list(self._measured) if not psutil.pid_exists(each)]:
            self._measured.pop(gone, None)
        measured, cpu = _Measured([], 0, 0), 0.0
        for each in tree(pid):
            try:
                memory, own, used = _pss(each), _own(each), _cpu(each)
            except (psutil.Error, OSError):
                continue  # A renderer that ended meanwhile costs nothing any more.
            measured.processes.append(each)
            measured.memory += memory
            measured.own += own
            cpu += used
        self._measured[pid] = measured
        return Cost(measured.memory // MB, cpu)

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
    return _bytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _own(pid: int) -> int:
    """Read how many bytes are in memory that belong to this process alone."""
    return _bytes(Path(f"/proc/{pid}/status"), "RssAnon:")


def _bytes(table: Path, name: str) -> int:
    for line in table.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
