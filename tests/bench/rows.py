"""What was measured: raw values, their median, and its ratio to what it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `most` and `least` bound the ratio, or the median where there is no `other`."""

    what: str
    unit: str
    ours: Sequence[float]
    other: Sequence[float] = ()
    beside: str = ""
    """What `other` is."""

    most: float | None = None
    least: float | None = None

    @property
    def median(self) -> float:
        """Median of ours."""
        return statistics.median(self.ours) if self.ours else 0.0

    @property
    def ratio(self) -> float | None:
        """Median of ours over that of the other; None if it stands alone."""
        return self.median / statistics.median(self.other) if self.other else None

    @property
    def holds(self) -> bool | None:
        """Whether it is within its bounds; None if it has none."""
        judged = self.median if self.ratio is None else self.ratio
        if self.most is not None:
            return judged <= self.most
        return judged >= self.least if self.least is not None else None

    @property
    def asked(self) -> str:
        """The bound in words."""
        unit = "times" if self.other else self.unit
        if self.most is not None:
            return f"at most {self.most:g} {unit}"
        return f"at least {self.least:g} {unit}" if self.least is not None else ""
