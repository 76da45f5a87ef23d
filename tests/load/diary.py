"""What was asked and what was seen, in seconds since the load began; nothing is judged here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.faults.evidence import Ledger


@dataclass(slots=True)
class Request:
    """One HTTP request. `took` is in seconds, and for a send runs to its outcome."""

    route: str
    session: str
    at: float
    took: float
    status: int
    refusable: bool = False
    """Whether it was meant to exceed a quota."""

    key: str = ""
    """The text of a send."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message to an account: when its friend wrote it, and how long until the feed told it."""

    at: float
    took: float


@dataclass(slots=True)
class Outage:
    """A session without its browser; `until` is infinite while it is not ready again."""

    session: str
    at: float
    until: float = float("inf")


@dataclass
class Diary:
    """Written by everyone who takes part in a run."""

    ledger: Ledger = field(default_factory=Ledger)
    requests: list[Request] = field(default_factory=list[Request])
    heard: list[Heard] = field(default_factory=list[Heard])
    lags: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    outages: list[Outage] = field(default_factory=list[Outage])
    troubles: list[str] = field(default_factory=list[str])
    """What could not be done as planned."""

    cycled: int = 0
    """Sessions that were created, linked and deleted."""

    began: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def begin(self) -> None:
        """Count time from here, and forget what was noted before."""
        self.began = time.monotonic()
        for noted in (self.requests, self.heard, self.lags):
            noted.clear()
