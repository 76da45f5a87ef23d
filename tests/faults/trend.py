"""Whether a measure stays where it is, judged from samples over time. Pure.

Flat: after the warm-up, the line that fits the samples best (least squares) rises by
at most 5 % of their mean in an hour, or by at most a few units where that is more.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HOUR = 3_600.0
SHARE = 0.05
"""Of the mean, that a flat line may rise in an hour."""

NEAR = 3
"""Samples on either side of a moment that its value is the median of."""

Points = Sequence[tuple[float, float]]
"""Seconds since the beginning, and what was measured then; in the order of time."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A measure at four moments, and units an hour from the end of the warm-up on."""

    start: float
    warm: float
    middle: float
    end: float
    slope: float
    mean: float
    least: float
    """Units an hour that are no rise, however small the mean is."""

    @property
    def flat(self) -> bool:
        """Whether it stays where it is, or falls."""
        return self.slope <= max(self.least, SHARE * self.mean)


def trend(points: Points, warm_up: float, least: float) -> Trend:
    """Judge samples; `warm_up` in seconds. Raises ValueError if fewer than three come after it."""
    after = [(at, value) for at, value in points if at >= warm_up]
    if len(after) < 3:
        raise ValueError(f"{len(after)} samples after a warm-up of {warm_up:.0f} s: run for longer")
    values = [value for _, value in after]
    return Trend(
        start=points[0][1],
        warm=statistics.median(values[:NEAR]),
        middle=statistics.median(_around(values)),
        end=statistics.median(values[-NEAR:]),
        slope=statistics.linear_regression(*zip(*after, strict=True)).slope * HOUR,
        mean=statistics.fmean(values),
        least=least,
    )


def _around(values: Sequence[float]) -> Sequence[float]:
    place = len(values) // 2
    return values[max(0, place - NEAR) : place + NEAR + 1]
