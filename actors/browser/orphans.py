"""Browsers that an earlier life of this node left behind.

The parent-death signal ends the browser process with us. It is not there
without setpriv, and a renderer that hangs does not notice that its browser
died. Only what is certainly ours is touched: on a profile below our folder that
nobody holds, and either on its command line or in the record of that profile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from actors.browser.profile import RECORD, Profile, boot_id, started_at
from actors.browser.protocol import ProfileBusy

_PROFILE_FLAG = "--user-data-dir="


def reap(root: Path) -> int:
    """Kill the orphans below a folder of profiles; returns on how many profiles there were any.

    Blocks for some milliseconds per hundred processes: call it in a thread.
    """
    root = root.absolute()
    found: dict[Path, set[psutil.Process]] = {}
    for profile, process in (*_by_command_line(root), *_by_record(root)):
        found.setdefault(profile, set()).add(process)
    return sum(_end(profile, processes) for profile, processes in found.items())


def _by_command_line(root: Path) -> Iterator[tuple[Path, psutil.Process]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for word in process.cmdline():
                profile = Path(word.removeprefix(_PROFILE_FLAG))
                if word.startswith(_PROFILE_FLAG) and profile.is_relative_to(root):
                    yield profile, process


def _by_record(root: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Find what is left of a browser's process group, children that lost it included.

    A process group's id is not given to a new process while the group has
    members, so members younger than the recorded browser are its descendants,
    or the group is a stranger's and its leader's start time differs.
    """
    groups: dict[int, Path] = {}
    # Not below the profiles: what is being ended still takes folders of its own away there.
    for path in root.glob(f"*/{RECORD}"):
        record = Profile(path.parent).read_record()
        if record is None or record.boot != boot_id():
            continue
        if started_at(record.pid) in (None, record.started):
            groups[record.pid] = path.parent
    if not groups:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            profile = groups.get(os.getpgid(process.pid))
            # A zombie is dead already; whoever adopted it reaps it, or nobody does.
            dead = process.status() == psutil.STATUS_ZOMBIE
            if profile is not None and not dead and "chrom" in process.name():
                yield profile, process


def _end(path: Path, processes: set[psutil.Process]) -> bool:
    profile = Profile(path)
    try:
        # Held: its owner lives, in this process or in another node on this folder.
        profile.take()
    except (ProfileBusy, OSError):
        return False
    try:
        for process in processes:
            # psutil compares the start time before it signals: a reused pid is safe.
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=5)
    finally:
        profile.release()
    return True
