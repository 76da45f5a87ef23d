"""What a run of an experiment showed."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.evidence import Evidence
from tests.faults.ledger import Findings
from tests.faults.load import Wait
from tests.faults.strikes import Struck


@dataclass(frozen=True, slots=True)
class Result:
    """What a run showed. Times are seconds."""

    experiment: str
    letter: str
    seed: int
    strikes: int
    sessions: int
    accepted: int
    rate: float
    """Accepted a second while there was load, over strikes and outages."""

    refused: int
    received: int
    findings: Findings
    gone_along: Sequence[str]
    """Ids of messages written in the last second of a machine that was lost with its profiles."""

    took: float
    recovery: Mapping[str, tuple[float, ...]]
    answers: Mapping[str, int]
    repeats: int
    events: int
    waits: Mapping[str, Quantiles]
    """A client's waiting for the last word on a send: over all, and while there were strikes."""

    @property
    def recovered(self) -> tuple[float, ...]:
        """All recovery times."""
        return tuple(itertools.chain.from_iterable(self.recovery.values()))


def meanwhile(waits: Iterable[Wait], struck: Sequence[Struck]) -> list[Wait]:
    """Find the sends that were under way at any time of a strike."""
    return [
        wait
        for wait in waits
        if any(hit.began < wait.began + wait.took and wait.began < hit.over for hit in struck)
    ]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of some durations, in seconds."""

    count: int
    p50: float
    p99: float
    longest: float

    @property
    def told(self) -> str:
        """Say it."""
        return f"{self.count}, p50 {self.p50:.3f} s, p99 {self.p99:.2f} s, max {self.longest:.2f} s"


def quantiles(waits: Sequence[Wait]) -> Quantiles:
    """Sort, and look."""
    took = sorted(wait.took for wait in waits) or [0.0]
    p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
    return Quantiles(len(waits), p50, p99, took[-1])


def recoveries(struck: list[Struck], evidence: Evidence) -> dict[str, tuple[float, ...]]:
    """Seconds from the end of each strike until every session hit has sent again, by kind.

    A strike is left out if another one came to a session of its own before it recovered.
    """
    sent: dict[str, list[float]] = {}
    for event in evidence.events("sent"):
        sent.setdefault(event.session, []).append(event.at.timestamp())
    found: dict[str, list[float]] = {}
    for number, hit in enumerate(struck):
        later = [
            other.began for other in struck[number + 1 :] if set(other.sessions) & set(hit.sessions)
        ]
        end = min(later, default=float("inf"))
        firsts = [
            next((at for at in sent.get(session.dotted, ()) if hit.over < at < end), None)
            for session in hit.sessions
        ]
        times = [at - hit.over for at in firsts if at is not None]
        if times and len(times) == len(firsts):
            found.setdefault(hit.kind, []).append(max(times))
    return {kind: tuple(times) for kind, times in found.items()}


def spread(times: tuple[float, ...]) -> str:
    """Median and longest."""
    return f"{statistics.median(times):.1f}/{max(times):.1f}" if times else "-"
