"""Browsers come after the service for the processor."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from pathlib import Path

import psutil
import pytest

from actors.browser import niceness
from actors.browser.chromium import Chromium
from actors.browser.niceness import NICEST, step_back
from actors.browser.profile import Profile
from tests.browser.test_chromium import SPEAKING, program

FOREVER = 'subprocess.Popen(["sleep", "60"])\ntime.sleep(60)\n'


def our_nice() -> int:
    """How nice this process is."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def nice_of_autogroup(pid: int) -> int | None:
    """How nice a process's autogroup is, where the kernel has such groups."""
    file = Path(f"/proc/{pid}/autogroup")
    return int(file.read_text().split()[-1]) if file.exists() else None


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A profile folder that is taken."""
    profile = Profile(tmp_path / "profile")
    profile.take()
    return profile


@pytest.mark.parametrize("steps", [0, 7])
async def test_a_browser_and_its_children_step_back(
    profile: Profile, tmp_path: Path, steps: int
) -> None:
    browser = Chromium(profile, steps)

    await browser.start(program(tmp_path, SPEAKING + FOREVER), 10)

    assert browser.pid
    wanted = min(NICEST, our_nice() + steps)
    root = psutil.Process(browser.pid)
    assert {process.nice() for process in [root, *root.children(recursive=True)]} == {wanted}
    if steps:
        assert nice_of_autogroup(browser.pid) in {wanted, None}
    await browser.kill()


async def test_a_browser_that_has_ended_is_no_trouble() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "", start_new_session=True)
    await process.wait()

    await step_back(process.pid, 5)


async def test_a_kernel_that_is_not_ready_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote: list[str] = []

    def busy(_: Path, text: str) -> int:
        wrote.append(text)
        if len(wrote) <= 2:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return len(text)

    monkeypatch.setattr(niceness, "PAUSE", 0)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "write_text", busy)
    sleep = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)

    await step_back(sleep.pid, 5)

    assert wrote == [str(min(NICEST, our_nice() + 5))] * 3
    sleep.kill()
    await sleep.wait()
