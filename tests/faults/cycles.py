"""`make cycles`: one session started and stopped again and again; nothing may be left behind.

Counted are processes (with those that ended and were not reaped), threads, open files and
temporary files of our parts, before and after, each time with the session stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import session_events as e
from events import subjects
from events.subjects import SessionId
from tests.faults import machine
from tests.faults.experiments import VARIABLES
from tests.faults.report import aligned
from tests.faults.site import NotInTime, Site, a_site, command
from tests.faults.usage import entries, tree, usage

OUT = Path("build/cycles.json")
PARTS = ("node", "projections", "gateway")
WARM_UP = 5
"""Cycles after which pools of threads have grown to what they need."""

PATIENCE = 60.0
"""Seconds that one start may take."""

POOLED = (": threads", "projections: open files", "gateway: open files")
"""What comes from pools, of threads and of connections to Redis."""

SPARE = 4
"""By how many a pool may grow at any moment, whatever ran before; cycles are many more."""

SETTLE = 20.0
"""Seconds after the last stop in which a browser must have ended and been reaped."""

SHARED = (Path("/tmp"), Path("/dev/shm"))
OF_CHROMIUM = ("*chromium*", "scoped_dir*", "*puppeteer*", "Crashpad*")

Counts = Mapping[str, int]
Browser = Literal["fake", "real"]
Say = Callable[[str], None]
BROWSERS: Mapping[Browser, Mapping[str, str]] = {
    "fake": {"node": "tests.faults.fake_node"},
    "real": {"node": "actors"},
}
"""The program that the node is, with either."""


@dataclass(frozen=True, slots=True)
class Cycled:
    """How often, in how many seconds, and what there was before and after."""

    browser: Browser
    cycles: int
    took: float
    before: Counts
    after: Counts

    @property
    def left(self) -> list[str]:
        """Name what is more than it was."""
        return [
            f"{what}: {self.after[what]}, {count} before"
            for what, count in self.before.items()
            if self.after[what] > allowed(what, count)
        ]


def allowed(what: str, before: int) -> int:
    """Return how many of something there may be, when there were so many before."""
    return before + SPARE if what.endswith(POOLED) else before


class Hearing:
    """The events of one session, as a service on NATS hears them."""

    def __init__(self, client: Client, session: SessionId) -> None:
        self._client, self._session = client, session
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def begin(self) -> None:
        """Listen."""

        async def hear(told: Msg) -> None:
            self._heard.put_nowait(told.subject.rsplit(".", 1)[1])

        await self._client.subscribe(subjects.session_family(self._session), cb=hear)
        await self._client.flush()

    async def tell(self, told: e.SessionCommand, until: str) -> None:
        """Give a command and wait for an event. Raises NotInTime."""
        await command(self._client, self._session, told)
        heard: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while (kind := await self._heard.get()) != until:
                    heard.append(kind)
        except TimeoutError:
            raise NotInTime(f"{told.kind}: no {until} in {PATIENCE:.0f} s, but {heard}") from None


async def cycle(
    site: Site,
    session: SessionId,
    cycles: int,
    say: Say,
    *,
    browser: Browser = "real",
    warm_up: int = WARM_UP,
) -> Cycled:
    """Start and stop a session of a site where all run; all are stopped then. Raises NotInTime."""
    client = await site.connect("service")
    try:
        # The browsers of others would be counted too.
        for other in {*site.sessions} - {session}:
            await (await _heard(client, other)).tell(e.Stop(), "stopped")
        hearing = await _heard(client, session)
        await hearing.tell(e.Stop(), "stopped")
        for _ in range(warm_up):
            await _once(hearing)
        await site.crowd()
        before = await _quiet(site, {})
        began = time.monotonic()
        for number in range(1, cycles + 1):
            await _once(hearing)
            if number % max(1, cycles // 10) == 0:
                say(f"{number} of {cycles} with the {browser} browser")
        took = time.monotonic() - began
        return Cycled(browser, cycles, took, before, await _quiet(site, before))
    finally:
        await client.close()


async def _heard(client: Client, session: SessionId) -> Hearing:
    hearing = Hearing(client, session)
    await hearing.begin()
    return hearing


async def _once(hearing: Hearing) -> None:
    await hearing.tell(e.Start(), "ready")
    await hearing.tell(e.Stop(), "stopped")


async def _quiet(site: Site, most: Counts) -> Counts:
    """Count when nothing moves and nothing is more than `most`, or time is over."""
    give_up = time.monotonic() + SETTLE
    last: Counts = {}
    while True:
        counts = await asyncio.to_thread(count, site)
        calm = not counts["browser processes"] and counts == last
        if calm and all(counts[what] <= allowed(what, n) for what, n in most.items()):
            return counts
        if time.monotonic() > give_up:
            return counts
        last = counts
        await asyncio.sleep(0.5)


def count(site: Site) -> Counts:
    """Count what a cycle could leave behind."""
    node, *browsers = tree(psutil.Process(site.parts["node"].pid))
    below = usage(browsers)
    counts = {
        "browser processes": below.processes - below.zombies,
        "zombies": below.zombies,
        "processes of ours, wherever they are": len(_ours(site.home)),
    }
    for name in PARTS:
        alone = usage([node if name == "node" else psutil.Process(site.parts[name].pid)])
        counts |= {f"{name}: threads": alone.threads, f"{name}: open files": alone.files}
    profiles = site.profiles("a")
    vault = profiles.with_name("vault")
    shared = [found for folder in SHARED for name in OF_CHROMIUM for found in folder.glob(name)]
    return counts | {
        # What is inside a profile is Chromium's, and there while the profile is; of snapshots
        # there are as many as are to be kept, and a session has its first when it is time.
        "data folder": entries(site.data) - entries(*profiles.iterdir()) - _with(vault),
        "browser's temporary folders": sum(1 for _ in profiles.glob("*/tmp/*")),
        "temporary folder of our parts": entries(site.home / "tmp"),
        "Chromium's in /tmp and /dev/shm": len(shared),
    }


def _with(folder: Path) -> int:
    return int(folder.exists()) + entries(folder)


def _ours(home: Path) -> list[int]:
    """Find every process that was told of our folder: a stray has lost its parent, not that."""
    found: list[int] = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if os.fsencode(home) in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


async def run(home: Path, browser: Browser, cycles: int, say: Say) -> Cycled:
    """Cycle on a site of its own."""
    (home / "tmp").mkdir(parents=True)
    told = {**VARIABLES, "TMPDIR": str(home / "tmp")}
    async with a_site(home, 1, BROWSERS[browser], **told) as site:
        return await cycle(site, next(iter(site.sessions)), cycles, say, browser=browser)


def table(cycled: Cycled) -> str:
    """Write one line for each count."""
    rows = (
        (
            what,
            str(n),
            str(after := cycled.after[what]),
            "" if after <= allowed(what, n) else "LEFT",
        )
        for what, n in cycled.before.items()
    )
    head = (f"{cycled.cycles} cycles, {cycled.browser} browser", "before", "after", "")
    return aligned(head, rows)


def main() -> int:
    """Run; 1 if anything is left behind."""
    parser = argparse.ArgumentParser(prog="make cycles", description=__doc__)
    parser.add_argument("--real", type=int, default=200, help="cycles with Chromium")
    parser.add_argument("--fake", type=int, default=1_000, help="cycles with a fake browser")
    asked = parser.parse_args()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"cycles {time.monotonic() - began:5.0f} s  {line}", flush=True)

    asked_for: dict[Browser, int] = {"fake": asked.fake, "real": asked.real}
    all_cycled: list[Cycled] = []
    for browser, number in asked_for.items():
        if number:
            with tempfile.TemporaryDirectory(prefix="wa-cycles-") as folder:
                all_cycled.append(asyncio.run(run(Path(folder) / "site", browser, number, say)))
    for cycled in all_cycled:
        print(f"\n{table(cycled)}\n{cycled.took:.0f} s, {cycled.took / cycled.cycles:.2f} s each")
    print(f"\n{machine.told()}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps([asdict(cycled) for cycled in all_cycled], indent=2))
    left = [line for cycled in all_cycled for line in cycled.left]
    print("\n".join(left) or "nothing is left behind")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
