"""The process of a browser: what goes wrong with it, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from actors.browser import chromium as chromium_module
from actors.browser.chromium import Chromium
from actors.browser.profile import RECORD, Profile
from actors.browser.protocol import LaunchFailed, NoBrowser, ProfileBusy


def program(tmp_path: Path, text: str) -> list[str]:
    """Make something that plays the browser."""
    path = tmp_path / "chromium-headless-shell"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return [str(path)]


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """A profile folder that is taken."""
    profile = Profile(tmp_path / "profile")
    profile.take()
    return profile


SPEAKING = """
import os, subprocess, sys, time
print("DevTools listening on ws://127.0.0.1:1/devtools/browser/x", file=sys.stderr, flush=True)
"""


async def test_the_endpoint_is_read_from_what_the_browser_says(
    profile: Profile, tmp_path: Path
) -> None:
    chromium = Chromium(profile)

    endpoint = await chromium.start(program(tmp_path, SPEAKING + "time.sleep(60)"), 10)

    assert endpoint == "ws://127.0.0.1:1/devtools/browser/x"
    await chromium.kill()
    assert chromium.exited.result() == "was killed by signal 9"


async def test_a_browser_that_ends_at_once_fails_fast_with_its_last_words(
    profile: Profile, tmp_path: Path
) -> None:
    chromium = Chromium(profile)
    started = time.monotonic()

    with pytest.raises(LaunchFailed, match=r"ended with status 3; it said: .*no display"):
        await chromium.start(
            program(tmp_path, "import sys\nsys.stderr.write('no display\\n')\nsys.exit(3)"), 30
        )

    assert time.monotonic() - started < 10
    assert chromium.pid is None


async def test_a_browser_that_never_speaks_is_killed_after_the_deadline(
    profile: Profile, tmp_path: Path
) -> None:
    chromium = Chromium(profile)

    with pytest.raises(LaunchFailed, match=r"within 0.2 s"):
        await chromium.start(program(tmp_path, "import time\ntime.sleep(60)"), 0.2)

    assert chromium.pid is None


async def test_a_file_that_is_no_program_is_no_browser(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "chrome"
    fake.write_bytes(b"\x00\x01")
    fake.chmod(0o755)
    monkeypatch.setattr(chromium_module, "_death_signal", tuple)

    with pytest.raises(NoBrowser, match="cannot be executed"):
        await Chromium(profile).start([str(fake)], 5)


async def test_a_browser_starts_where_there_is_no_death_signal(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium_module, "_death_signal", tuple)
    chromium = Chromium(profile)

    await chromium.start(program(tmp_path, SPEAKING + "time.sleep(60)"), 10)

    await chromium.kill()
    assert chromium.exited.done()


async def test_a_browser_that_cannot_be_watched_is_not_let_live(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pidfd(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    chromium = Chromium(profile)

    with pytest.raises(LaunchFailed, match="cannot be watched"):
        await chromium.start(program(tmp_path, SPEAKING + "time.sleep(60)"), 10)

    assert chromium.pid is None


async def test_what_a_browser_says_is_read_to_the_end(profile: Profile, tmp_path: Path) -> None:
    chromium = Chromium(profile)
    noise = "for _ in range(20000): print('x' * 100, file=sys.stderr)\nsys.exit(0)"

    await chromium.start(program(tmp_path, SPEAKING + noise), 10)

    assert await chromium.wait(20), "a full pipe would block it"


async def test_children_die_with_their_browser(profile: Profile, tmp_path: Path) -> None:
    note = tmp_path / "child"
    child = "child = subprocess.Popen(['sleep', '60'])\n"
    told = f"open({str(note)!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    chromium = Chromium(profile)
    await chromium.start(program(tmp_path, SPEAKING + child + told), 10)
    await until(lambda: note.exists() and note.read_text())
    assert chromium.pid

    os.kill(chromium.pid, signal.SIGKILL)

    assert await chromium.wait(5)
    await until(lambda: not alive(int(note.read_text())))


async def test_the_end_of_a_browser_is_known_and_reaped(profile: Profile, tmp_path: Path) -> None:
    chromium = Chromium(profile)
    await chromium.start(program(tmp_path, SPEAKING + "sys.exit(7)"), 10)
    pid = chromium.pid

    assert await chromium.wait(5)

    assert chromium.exited.result() == "ended with status 7"
    assert chromium.pid is None
    assert pid is None or not psutil.pid_exists(pid)


async def test_a_browser_does_not_get_the_keys_of_its_node(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "a secret")
    note = tmp_path / "environment"
    text = f"import os\nopen({str(note)!r}, 'w').write(repr(dict(os.environ)))\n"
    chromium = Chromium(profile)

    await chromium.start(program(tmp_path, text + SPEAKING), 10)
    await chromium.wait(5)

    assert "a secret" not in note.read_text()
    assert str(profile.temporary) in note.read_text()


def test_a_profile_is_busy_while_another_process_is_on_it(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "profile")
    profile.take()

    with pytest.raises(ProfileBusy, match="profile"):
        Profile(tmp_path / "profile").take()

    profile.release()
    Profile(tmp_path / "profile").take()


def test_what_a_killed_browser_left_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    (folder / "tmp" / ".org.chromium.x").mkdir(parents=True)
    (folder / "SingletonLock").symlink_to("gone-4711")
    (folder / "DevToolsActivePort").write_text("1")
    (folder / "Local State").write_text("kept")

    Profile(folder).take()

    assert not (folder / "SingletonLock").is_symlink()
    assert not (folder / "DevToolsActivePort").exists()
    assert list((folder / "tmp").iterdir()) == []
    assert (folder / "Local State").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    profile = Profile(tmp_path)
    (tmp_path / RECORD).write_text(text)

    assert profile.read_record() is None


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie of somebody else's does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition, timeout: float = 5) -> None:
    """Wait for something outside of us."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)
