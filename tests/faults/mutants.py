"""Protections taken away on purpose: each must be found by the experiment named for it.

An experiment that stays clean without the protection it is about proves nothing.
FAULTS_MUTANT names one; `python -m tests.faults.mutants` runs projections with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.sending import Sender, new_wa_id
from events import codec
from events import jetstream_log as log_module
from events.message import Send, Stage
from events.session import State
from projections import __main__ as projections
from projections.models import Script


def no_fence() -> None:
    """Append whoever else may have written."""
    guarded = log_module._headers

    def headers(*given: Any) -> dict[str, str]:
        fence = {log_module.GUARD_SEQUENCE, log_module.GUARD_SUBJECT}
        return {name: value for name, value in guarded(*given).items() if name not in fence}

    log_module._headers = headers


def new_id() -> None:
    """Send again under another WhatsApp id, and without looking into the page."""
    deliver = Sender.deliver

    def sends_again(self: Sender, delivered: Any) -> None:
        payload = codec.payload_of(delivered.envelope)
        known = (
            self._recorder.outbox.delivery(payload.message) if isinstance(payload, Send) else None
        )
        ready = self._recorder.state.state is State.READY
        if isinstance(payload, Send) and known and known.stage is Stage.SENDING and ready:
            self._run(payload, delivered, False, new_wa_id())
        else:
            deliver(self, delivered)

    Sender.deliver = sends_again  # type: ignore[method-assign]


def no_position() -> None:
    """Project whatever comes next: neither a position that went back nor a hole is noticed."""
    load = Script.load

    async def broken(self: Script, redis: Any) -> None:
        self._text = self._text.replace("return 'lost'", "held = held").replace(
            "event.version ~= version + 1 and not event.base", "false"
        )
        await load(self, redis)

    Script.load = broken  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    "no_fence": no_fence,
    "no_position": no_position,
    "new_id": new_id,
}


@dataclass(frozen=True, slots=True)
class Caught:
    """Which experiment finds a mutant, in how many strikes, and on which of its lists."""

    experiment: str
    strikes: int
    finds: str


CAUGHT_BY = {
    "no_fence": Caught("owner", 3, "stale"),
    "no_position": Caught("redis-kill", 6, "stale"),
    "new_id": Caught("node-points", 10, "doubled"),
}


def apply(name: str) -> None:
    """Take a protection away in this process; nothing for an empty name."""
    if name:
        MUTANTS[name]()


if __name__ == "__main__":
    apply(os.environ.get("FAULTS_MUTANT", ""))
    sys.exit(projections.main())
