"""Browsers that outlived their node."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from actors.browser import orphans
from actors.browser.launcher import PyppeteerBrowser, PyppeteerLauncher
from actors.browser.profile import Profile
from tests.browser.simulated import simulator_url  # noqa: F401  # a fixture
from tests.browser.test_chromium import alive, until
from tests.browser.world import ChromiumWorld, chromium_world, group_of, renderer_of

pytestmark = pytest.mark.filterwarnings("ignore:remove loop argument:DeprecationWarning")

ROOT = Path(__file__).parents[2]

# A node that starts a browser, says which, and then only lives.
NODE = """
import asyncio, sys
from pathlib import Path
from actors.browser.launcher import PyppeteerLauncher
from tests.browser.world import options_for
from actors.browser.protocol import QrShown

async def main(root, url):
    shown = asyncio.Event()
    browser = PyppeteerLauncher(options_for(url), root).browser(root / "ann", "ann")
    await browser.start(lambda sighting: isinstance(sighting, QrShown) and shown.set())
    await shown.wait()
    print(browser.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def browser_like(profile: Path) -> subprocess.Popen[bytes]:
    """Start something that has a profile on its command line, as a browser has."""
    code = "import time; print('up', flush=True); time.sleep(600)"
    started = subprocess.Popen(
        [sys.executable, "-c", code, f"--user-data-dir={profile}"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    # For a moment after it is started, the kernel shows no command line.
    assert started.stdout is not None
    assert started.stdout.readline() == b"up\n"
    started.stdout.close()
    return started


def test_a_browser_on_a_profile_nobody_holds_is_reaped(tmp_path: Path) -> None:
    orphan = browser_like(tmp_path / "ann")

    assert orphans.reap(tmp_path) == 1

    orphan.wait(5)
    assert orphans.reap(tmp_path) == 0


def test_a_browser_whose_owner_lives_is_left_alone(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "ann")
    profile.take()
    running = browser_like(profile.path)
    try:
        assert orphans.reap(tmp_path) == 0
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def test_browsers_on_other_folders_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    strangers = [
        browser_like(tmp_path / "elsewhere" / "ann"),
        browser_like(tmp_path / "profiles-of-others"),
    ]
    try:
        assert orphans.reap(tmp_path / "profiles") == 0
        assert all(stranger.poll() is None for stranger in strangers)
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def test_a_recorded_id_that_belongs_to_somebody_else_now_is_not_touched(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "ann")
    profile.path.mkdir()
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    profile.write_record(stranger.pid)
    record = profile.path / ".wa.browser.json"
    started = profile.read_record()
    assert started
    record.write_text(record.read_text().replace(str(started.started), "1"))
    try:
        assert orphans.reap(tmp_path) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_no_folder_has_no_orphans(tmp_path: Path) -> None:
    assert orphans.reap(tmp_path / "not yet there") == 0


@pytest.fixture
async def world(simulator_url: str, tmp_path: Path) -> AsyncIterator[ChromiumWorld]:  # noqa: F811
    """Chromium on the simulator."""
    async with chromium_world(tmp_path, simulator_url) as world:
        yield world


async def node(tmp_path: Path, url: str) -> tuple[asyncio.subprocess.Process, int]:
    """Start a node of its own with one browser; returns both."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(NODE), str(tmp_path), url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(30):
        while not (line := await process.stdout.readline()).strip().isdigit():
            assert line, "the node ended"
    return process, int(line)


@pytest.mark.browser
async def test_a_browser_dies_with_its_node(
    world: ChromiumWorld,
    tmp_path: Path,
    simulator_url: str,  # noqa: F811
) -> None:
    process, browser = await node(tmp_path, simulator_url)
    members = [p for p in psutil.pids() if psutil.pid_exists(p) and os.getpgid(p) == browser]

    process.kill()
    await process.wait()

    await until(lambda: not any(alive(member) for member in members))
    assert await world.launcher.reap_orphans() == 0


@pytest.mark.browser
async def test_a_renderer_that_hangs_when_its_browser_dies_is_reaped(
    world: ChromiumWorld,
    tmp_path: Path,
    simulator_url: str,  # noqa: F811
) -> None:
    process, browser = await node(tmp_path, simulator_url)
    shown = type("", (), {"pid": browser})()
    renderer = renderer_of(shown)
    os.kill(renderer, signal.SIGSTOP)
    process.kill()
    await process.wait()
    await until(lambda: not alive(browser))
    assert alive(renderer)

    reaped = await world.launcher.reap_orphans()

    assert reaped == 1
    assert not alive(renderer)
    page = await world.start()
    assert page.browser.pid


@pytest.mark.browser
async def test_running_browsers_are_no_orphans(world: ChromiumWorld) -> None:
    page = await world.start()

    assert await world.launcher.reap_orphans() == 0

    assert (await page.browser.status()).socket in ("", "OPENING", "UNPAIRED")
    assert isinstance(page.browser, PyppeteerBrowser)
    assert isinstance(world.launcher, PyppeteerLauncher)
    assert group_of(page.browser)
