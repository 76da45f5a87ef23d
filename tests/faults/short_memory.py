"""A part that remembers little, so that its memory is full within minutes: for `make soak`.

What a session remembers of its messages is bounded at thousands of them, which steady
traffic takes hours to reach; until then growth is no leak, and a leak would hide in it.
`python -m tests.faults.short_memory node` (or `projections`) runs the part with smaller
bounds, and otherwise as it is.
"""

from __future__ import annotations

import sys
from functools import partial

from actors import __main__ as node
from actors import recorder
from events.message import Limits, Outbox
from projections import __main__ as projections
from projections import models

# What was received is remembered as ever: a catch-up reads half an hour again.
LIMITS = Limits(deliveries=100)
HISTORY = 200
"""Messages of a session that the read models show."""

PROGRAMS = {"node": node.main, "projections": projections.main}


if __name__ == "__main__":
    program = PROGRAMS[sys.argv.pop(1)]
    recorder.Outbox = partial(Outbox, limits=LIMITS)  # type: ignore[misc,assignment]
    models.HISTORY = HISTORY  # type: ignore[misc]
    sys.exit(program())
