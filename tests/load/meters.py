"""What the parts use while they work: CPU and memory, states, and how far the read models lag."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from nats.aio.client import Client as Nats

from actors.memory import tree
from events import subjects
from projections.read import RedisReadModels
from tests.faults.site import Site
from tests.faults.usage import pss_mb
from tests.load.diary import Diary
from tests.load.ears import Ears

EVERY = 5.0
"""Seconds between two samples."""

WEIGHED = 24
"""Samples for one measurement of memory, which costs some milliseconds a process."""

PAUSE = 0.05
"""Seconds between two processes that are weighed: what measures must not be what is measured."""

OURS = ("node", "projections", "gateway")
"""Parts that this project is; NATS, Redis and browsers are others' work."""

Seconds = Mapping[str, float]
"""CPU seconds of each part, from its beginning on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment; `at` is in seconds since the load began."""

    at: float
    cpu: Seconds
    states: Mapping[str, int]
    behind: int
    """Events that the slowest projection has not applied."""


@dataclass(frozen=True, slots=True)
class Memory:
    """PSS in MB at one moment."""

    at: float
    parts: Mapping[str, float]
    browsers: int


@dataclass
class Meters:
    """Reads everything again and again until it is cancelled."""

    site: Site
    diary: Diary
    ears: Ears
    samples: list[Sample] = field(default_factory=list[Sample])
    memory: list[Memory] = field(default_factory=list[Memory])
    _browsers: list[psutil.Process] = field(default_factory=list[psutil.Process])

    async def run(self) -> None:
        """Sample for ever."""
        client = await self.site.connect("projector")
        reads = RedisReadModels.open(self.site.settings("gateway"))
        try:
            number = 0
            while True:
                self.samples.append(await self._sample(client, reads))
                number += 1
                if number % WEIGHED == 0:
                    await self.weigh()
                await asyncio.sleep(EVERY)
        finally:
            await reads.close()
            await client.close()

    async def _sample(self, client: Nats, reads: RedisReadModels) -> Sample:
        behind = 0
        with contextlib.suppress(Exception):
            info = await client.jetstream().stream_info(subjects.EVENTS)
            reached = min(each.position for each in await reads.health())
            behind = max(0, info.state.last_seq - reached)
        cpu = await asyncio.to_thread(self._seconds)
        return Sample(self.diary.now, cpu, dict(Counter(self.ears.states.values())), behind)

    def _seconds(self) -> dict[str, float]:
        # To look for the browsers costs more than to ask them: only when one is gone.
        if not self._browsers or not all(each.is_running() for each in self._browsers):
            self._browsers = _browsers(self.site)
        return seconds(self.site, self._browsers)

    async def weigh(self) -> Memory:
        """Measure the memory of all, one process after the other, with pauses between."""
        parts = dict.fromkeys((*self.site.parts, "simulator"), 0.0)
        for name, process in _parts(self.site).items():
            parts[name] = pss_mb(process)
        self._browsers = browsers = await asyncio.to_thread(_browsers, self.site)
        parts["browsers"] = 0.0
        mains = 0
        for process in browsers:
            parts["browsers"] += await asyncio.to_thread(pss_mb, process)
            with contextlib.suppress(psutil.Error):
                mains += process.ppid() == self.site.parts["node"].pid
            await asyncio.sleep(PAUSE)
        found = Memory(self.diary.now, parts, mains)
        self.memory.append(found)
        return found


def _parts(site: Site) -> dict[str, psutil.Process]:
    found = {name: psutil.Process(p.pid) for name, p in site.parts.items() if p.running}
    if site.simulator.pid is not None:
        found["simulator"] = psutil.Process(site.simulator.pid)
    return found


def _browsers(site: Site) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for each in tree(site.parts["node"].pid)[1:]:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(each))
    return found


def seconds(site: Site, browsers: Sequence[psutil.Process] | None = None) -> dict[str, float]:
    """CPU seconds of each part since it began, and of this process (`clients`). Blocking."""
    found: dict[str, float] = {}
    for name, process in _parts(site).items():
        found[name] = _own(process.cpu_times())
    node = _parts(site)["node"].cpu_times()
    # Of browsers that ended, their parent keeps the account.
    found["browsers"] = node.children_user + node.children_system
    for process in _browsers(site) if browsers is None else browsers:
        with contextlib.suppress(psutil.Error):
            found["browsers"] += _own(process.cpu_times())
    found["clients"] = sum(os.times()[:2])
    return found


def _own(times: Any) -> float:
    return times.user + times.system


@contextlib.contextmanager
def metered(site: Site, into: dict[str, float]) -> Any:
    """Measure the share of a core that each part uses meanwhile."""
    before, began = seconds(site), time.monotonic()
    yield
    after, took = seconds(site), time.monotonic() - began
    into.update({name: (after[name] - before[name]) / took for name in before})
