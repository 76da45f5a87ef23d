"""A part that remembers little, so that its memory is full within minutes: for `make soak`.

What a session remembers of its messages is bounded at thousands of them, which steady
traffic takes hours to reach; until then growth is no leak, and a leak would hide in it.
`python -m tests.faults.short_memory node` (or `projections`) runs the part with smaller
bounds, and otherwise as it is.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from actors import __main__ as node
from actors import recorder
from projections import __main__ as projections
from projections import models

SEND_MEMORY = "120"
"""Seconds for which a send that ended is remembered, where the clocks of one machine agree.

What was received is remembered as ever: a catch-up reads half an hour again.
"""
HISTORY = 200
"""Messages of a session that the read models show."""

PROGRAMS = {"node": node.main, "projections": projections.main}


if __name__ == "__main__":
    program = PROGRAMS[sys.argv.pop(1)]
    os.environ.setdefault("SEND_MEMORY", SEND_MEMORY)
    recorder.MARGIN = timedelta(minutes=1)  # type: ignore[misc]
    models.HISTORY = HISTORY  # type: ignore[misc]
    sys.exit(program())
