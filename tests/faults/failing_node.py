"""A node that dies where it is told to: `python -m tests.faults.failing_node`.

The product knows nothing of this. The file that FAULTS_ORDER names holds a point and
a number, `{"point": "after_sending", "pass": 3}`; the node kills itself with SIGKILL
the third time it comes by. FAULTS_MUTANT takes a protection away, see `mutants.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from actors import __main__ as node
from actors import trying as trying_module
from actors.recorder import Recorder
from events.message import Sending, Sent
from tests.faults import mutants

POINTS = ("before_sending", "after_sending", "in_the_page", "before_sent", "after_sent")
"""Around one send: which lines of design.md's table of crashes they are."""


IN_FLIGHT = 0.05
"""Seconds after the beginning of a call into the page in which `in_the_page` strikes."""


class FailPoints:
    """Counts passes of the point in the order, and dies at the one it names."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self._left: int | None = None

    def reach(self, point: str) -> None:
        """Come by a point."""
        try:
            told = json.loads(self._order.read_text())
        except (FileNotFoundError, ValueError):
            return
        if told["point"] != point:
            return
        self._left = (self._left or int(told["pass"])) - 1
        if self._left <= 0:
            # Before it happens, or the next life would find it and die as well.
            self._order.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)


def install(points: FailPoints) -> None:
    """Wrap the places around a send."""
    append, try_in_page = Recorder.message, trying_module.try_in_page

    def message(self: Recorder, event: Any, cause: str | None = None) -> None:
        if isinstance(event, Sending):
            points.reach("before_sending")
        elif isinstance(event, Sent):
            points.reach("before_sent")
        append(self, event, cause)
        if isinstance(event, Sending):
            points.reach("after_sending")
        elif isinstance(event, Sent):
            points.reach("after_sent")

    async def trying(browser: Any, send: Any, wa_id: str, look_up: bool, media: Any) -> Any:
        # While the page is at it: it may have the message, and the server may, by then.
        late = random.uniform(0, IN_FLIGHT)
        asyncio.get_running_loop().call_later(late, points.reach, "in_the_page")
        return await try_in_page(browser, send, wa_id, look_up, media)

    Recorder.message = message  # type: ignore[method-assign]
    trying_module.try_in_page = trying


if __name__ == "__main__":
    install(FailPoints(Path(os.environ["FAULTS_ORDER"])))
    mutants.apply(os.environ.get("FAULTS_MUTANT", ""))
    sys.exit(node.main())
