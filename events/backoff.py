"""Exponential backoff as a value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first` seconds doubling to `most`, each shortened by up to the share `jitter`.

    The jitter is drawn from a seed, not from a dice: the same session and
    attempt give the same delay, so a test can state it to the millisecond,
    while sessions that fail together still spread out.
    """

    first: float = 1.0
    most: float = 30.0
    jitter: float = 0.2
    attempts: int = 5

    def delay(self, attempt: int, seed: str) -> float:
        """Return the seconds to wait before `attempt` (1, 2, 3…), to the millisecond."""
        full = min(self.most, self.first * 2.0 ** min(attempt - 1, 32))
        digest = hashlib.sha256(f"{seed}:{attempt}".encode()).digest()
        share = int.from_bytes(digest[:4]) / 2**32
        return round(full * (1 - self.jitter * share), 3)
