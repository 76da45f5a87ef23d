"""Where the time of a send goes: from the request, through the log and the page, to the answer.

    request        in the gateway, before the command is written
    command        until the queue has stored the command
    inbox          until the session's actor decides to send
    append_sending until `sending` is stored
    page           until the page has WhatsApp's acknowledgement
    append_sent    until `sent` is stored
    answer         until HTTP is answered

The first two and the last are measured here; the others are read off the times
of the two events, and are as good as the machines' clocks.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram

from events.clock import utc_now
from events.log import Stored
from events.message import Sending, Sent
from events.subjects import SessionId
from gateway.frames import Told

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 3_600)
STAGES = ("request", "command", "inbox", "append_sending", "page", "append_sent", "answer")
UNDER_WAY = 10_000
"""Sends whose times are remembered."""


@dataclass(slots=True)
class _Times:
    queued: datetime | None = None
    sending: datetime | None = None
    sent: datetime | None = None
    answered: datetime | None = None


class Stages:
    """Times sends, those of this gateway in all stages and all others on the log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._under_way: OrderedDict[tuple[SessionId, str], _Times] = OrderedDict()
        self._stages = Histogram(
            "wa_send_stage_seconds",
            "Time that sends spend in each stage.",
            ["stage"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._whole = Histogram(
            "wa_send_duration_seconds",
            "From the request to its answer, by how the send stood then.",
            ["outcome"],
            buckets=BUCKETS,
            registry=registry,
        )

    def begin(self, session: SessionId, message: str) -> Course:
        """Begin to time a send that came over HTTP."""
        return Course(self, session, message)

    def observe(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._stages.labels(stage).observe(max(0.0, seconds))

    def ended(self, outcome: str, seconds: float) -> None:
        """Note how long a request took, and how the send stood then."""
        self._whole.labels(outcome).observe(seconds)

    def times(self, session: SessionId, message: str) -> _Times:
        """Return what is known of a send."""
        held = self._under_way.setdefault((session, message), _Times())
        if len(self._under_way) > UNDER_WAY:
            self._under_way.popitem(last=False)
        return held

    def take(self, stored: Stored, told: Told) -> None:
        """Read off the times of an event of the log."""
        at = told.envelope.time
        match told.payload:
            case Sending() as event:
                times = self.times(told.session, event.message)
                self._between("inbox", times.queued, at)
                self._between("append_sending", at, stored.stored_at)
                times.sending = stored.stored_at
            case Sent() as event:
                times = self.times(told.session, event.message)
                self._between("page", times.sending, at)
                self._between("append_sent", at, stored.stored_at)
                times.sent = stored.stored_at
                self.finish(told.session, event.message)
            case _:
                pass

    def finish(self, session: SessionId, message: str) -> None:
        """Note the last stage once both its ends are known; the two come in any order."""
        times = self._under_way.get((session, message))
        if times is not None and times.sent is not None and times.answered is not None:
            self._between("answer", times.sent, times.answered)
            del self._under_way[session, message]

    def _between(self, stage: str, start: datetime | None, end: datetime) -> None:
        if start is not None:
            self.observe(stage, (end - start).total_seconds())


class Course:
    """One send of this gateway on its way."""

    def __init__(self, stages: Stages, session: SessionId, message: str) -> None:
        self._stages = stages
        self._session, self._message = session, message
        self._began = self._mark = time.perf_counter()
        self._queued = False

    def publishing(self) -> None:
        """Say that the command is about to be written."""
        self._stages.observe("request", self._lap())

    def queued(self) -> None:
        """Say that the queue has the command, and had not before."""
        self._stages.observe("command", self._lap())
        self._queued = True
        self._stages.times(self._session, self._message).queued = utc_now()

    def answered(self, outcome: str) -> None:
        """Say how the send stands in the answer."""
        self._stages.ended(outcome, time.perf_counter() - self._began)
        # Asked again, a send may be answered with what became of it long ago.
        if outcome == "sent" and self._queued:
            self._stages.times(self._session, self._message).answered = utc_now()
            self._stages.finish(self._session, self._message)

    def _lap(self) -> float:
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before
