"""`make soak`: the service with real browsers under steady traffic; does it stay as small as it was?

Every ten seconds each part is measured. At the end stands, for each, what it used at
four moments and how fast that grew after the warm-up; `trend.py` says what is flat. What
is stored on purpose grows with the messages, so NATS and the pages may by some KB each.
What was sent and written meanwhile is compared as after any experiment.
"""  # noqa: E501

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from tests.faults import machine
from tests.faults.evidence import Answer, Ledger
from tests.faults.experiments import VARIABLES
from tests.faults.ledger import Findings, compare
from tests.faults.load import Load, Rates
from tests.faults.report import aligned
from tests.faults.short_memory import HISTORY
from tests.faults.site import Site, a_site
from tests.faults.trend import HOUR, Trend, trend
from tests.faults.usage import Usage, tree, usage

OUT = Path("build/soak.json")
EVERY = 10.0
"""Seconds between samples."""

WARM_UP = 0.2
"""Share of a run in which memories fill and pools grow."""

RATES = Rates(sends=5, incoming=5)
PROGRAMS = {
    "node": "tests.faults.short_memory node",
    "projections": "tests.faults.short_memory projections",
}
LEAST = {"rss_mb": 10, "uss_mb": 10, "threads": 4, "files": 10}
"""What is judged, and units an hour that are no rise."""

SHOWN = ("pss_mb",)
"""What is only shown: a share of common pages rises when others on the machine end."""

KEPT_KB = {"nats": 3, "browsers": 5}
"""What a message may add: NATS indexes what it keeps for days, and a page holds its chats."""

HEAD = ("part", "measure", "start", "warm", "middle", "end", "per hour", "")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """What every part used, some seconds after the beginning."""

    at: float
    parts: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a soak showed."""

    minutes: float
    sessions: int
    accepted: int
    received: int
    findings: Findings
    samples: Sequence[Sample]
    trends: Mapping[str, Mapping[str, Trend]]

    @property
    def rising(self) -> list[str]:
        """Name what is not flat."""
        return [
            f"{part} {measure} by {line.slope:.1f} an hour"
            for part, measures in self.trends.items()
            for measure, line in measures.items()
            if measure in LEAST and not line.flat
        ]


def main() -> int:
    """Run; 1 if anything rises, or was lost or doubled."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--duration", type=seconds, default=seconds("30m"), help="30m, 2h, 90s")
    parser.add_argument("--sessions", type=int, default=10)
    asked = parser.parse_args()
    # The parts write their own logs; what connects from here is told in the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"soak {time.monotonic() - began:6.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="wa-soak-") as home:
        soaked = asyncio.run(soak(Path(home), asked.sessions, asked.duration, say))
    print(f"\n{table(soaked)}\n\n{machine.told()}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(dataclasses.asdict(soaked) | {"machine": machine.told()}, indent=2))
    clean = soaked.findings.clean
    told = soaked.findings.told()
    print(f"messages: {soaked.accepted} accepted, {soaked.received} received, {told}")
    print(f"not flat: {', '.join(soaked.rising)}" if soaked.rising else "flat")
    return 0 if clean and not soaked.rising else 1


def seconds(told: str) -> float:
    """Read a duration: a number and s, m or h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", told)
    if found is None:
        raise argparse.ArgumentTypeError(f"{told!r} is no duration: write 90s, 30m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600}[found[2]]


async def soak(home: Path, sessions: int, duration: float, say: Say) -> Soaked:
    """Run the service for so many seconds. Raises ValueError for too few."""
    async with a_site(home, sessions, PROGRAMS, **VARIABLES) as site:
        say(f"{sessions} sessions linked")
        await site.crowd()
        ledger = Ledger()
        load = Load(site, RATES, random.Random("soak"), ledger, name="soak")
        load.begin()
        try:
            samples = [sample async for sample in _samples(site, load, duration, say)]
        finally:
            await load.finish(60)
        await site.settled(ledger, 60, say)
        evidence = dataclasses.replace(await site.evidence(ledger), kept=HISTORY)
        received = sum(1 for _ in evidence.events("received"))
        messages = ledger.count(Answer.ACCEPTED) + received
        return Soaked(
            minutes=duration / 60,
            sessions=sessions,
            accepted=ledger.count(Answer.ACCEPTED),
            received=received,
            findings=compare(evidence),
            samples=samples,
            trends=trends(samples, duration * WARM_UP, messages * HOUR / duration),
        )


async def _samples(site: Site, load: Load, duration: float, say: Say) -> AsyncIterator[Sample]:
    began = time.monotonic()
    number = 0
    while (at := time.monotonic() - began) < duration:
        load.check()
        parts = await asyncio.to_thread(measure, site)
        yield Sample(at, parts)
        if number % 6 == 0:
            used = ", ".join(f"{name} {part.pss_mb:.0f}" for name, part in parts.items())
            say(f"PSS in MB: {used}; {load.ledger.count(Answer.ACCEPTED)} accepted")
        number += 1
        await asyncio.sleep(max(0.0, number * EVERY - (time.monotonic() - began)))


def measure(site: Site) -> dict[str, Usage]:
    """Measure every part, and all browsers together."""
    found = {
        name: usage([psutil.Process(part.pid)]) for name, part in site.parts.items() if part.running
    }
    _, *browsers = tree(psutil.Process(site.parts["node"].pid))
    return {**found, "browsers": usage(browsers)}


def trends(samples: Sequence[Sample], warm_up: float, hourly: float) -> dict[str, dict[str, Trend]]:
    """Judge every measure of every part; `hourly` messages. Raises ValueError: too few samples."""

    def judged(part: str, measure: str) -> Trend:
        points = [
            (s.at, float(getattr(s.parts[part], measure))) for s in samples if part in s.parts
        ]
        kept = hourly * KEPT_KB.get(part, 0) / 1_024 if measure.endswith("_mb") else 0
        return trend(points, warm_up, LEAST.get(measure, 0) + kept)

    measures = (*SHOWN, *LEAST)
    return {part: {m: judged(part, m) for m in measures} for part in samples[0].parts}


def table(soaked: Soaked) -> str:
    """Write one line for each part and measure."""
    return aligned(HEAD, _rows(soaked))


def _rows(soaked: Soaked) -> Iterator[Sequence[str]]:
    for part, measures in soaked.trends.items():
        for measure, line in measures.items():
            numbers = (line.start, line.warm, line.middle, line.end)
            verdict = "flat" if line.flat else "RISES"
            verdict = verdict if measure in LEAST else ""
            yield (part, measure, *(f"{n:.0f}" for n in numbers), f"{line.slope:+.1f}", verdict)


if __name__ == "__main__":
    sys.exit(main())
