"""What the log tells in numbers: transitions, messages, breakers, and how late events come.

Every gateway follows the whole log, so these are the same at each of several:
take the largest, not the sum.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

from events import codec, message, pool
from events import session_events as e
from events.clock import utc_now
from events.codec import AnyPayload
from events.log import Stored
from events.session import State
from events.subjects import SessionId
from gateway.crashes import WHY
from gateway.frames import Told
from gateway.outcomes import REMEMBERED, STATE_AFTER

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
SLOW = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200, 172_800)
UNDER_WAY = frozenset({State.PAIRING, State.AUTHENTICATED, State.READY})
"""States in which a start has shown that it works."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a session stands since when; `starting` since when its browser is launched."""

    state: State
    since: datetime
    starting: datetime | None = None
    away: bool = False


class EventInstruments:
    """Fed with every event that the gateway's tail of the log brings."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stands: OrderedDict[SessionId, _Stand] = OrderedDict()
        self._handling = Summary(
            "wa_event_handling_seconds",
            "Time to take in an event of the log, by its type.",
            ["family", "type"],
            registry=registry,
        )
        self._append = Histogram(
            "wa_event_append_seconds",
            "From an event being made to its being stored.",
            ["family"],
            buckets=QUICK,
            registry=registry,
        )
        self._lag = Histogram(
            "wa_event_lag_seconds",
            "From an event being stored to this gateway telling it.",
            buckets=QUICK,
            registry=registry,
        )
        self._transitions = Counter(
            "wa_session_transitions",
            "Transitions of sessions; from unknown where this gateway did not see it.",
            ["from", "to"],
            registry=registry,
        )
        self._stayed = Histogram(
            "wa_session_state_seconds",
            "How long sessions stayed in a state.",
            ["state"],
            buckets=SLOW,
            registry=registry,
        )
        self._starts = Histogram(
            "wa_session_start_seconds",
            "From the launch of a browser to a code, a link or ready.",
            buckets=(0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120),
            registry=registry,
        )
        self._reconnections = Counter(
            "wa_session_reconnections",
            "Sessions that were ready again after they had been away.",
            registry=registry,
        )
        self._crashes = Counter(
            "wa_session_crashes",
            "Failures of sessions by reason.",
            ["reason"],
            registry=registry,
        )
        self._breakers = Counter(
            "wa_breaker_transitions",
            "Transitions of breakers into a state.",
            ["breaker", "state"],
            registry=registry,
        )
        self._messages = Counter(
            "wa_messages",
            "Messages by direction and what became of them.",
            ["direction", "outcome"],
            registry=registry,
        )

    def take(self, stored: Stored, told: Told | None, began: float) -> None:
        """Count an event that was taken in since `began`, a reading of `perf_counter`."""
        match stored.subject.split("."):
            case ["wa", "evt", family, *_, kind]:
                pass
            case _:
                return
        self._lag.observe(_seconds(stored.stored_at, utc_now()))
        if told is not None:
            self._append.labels(family).observe(_seconds(told.envelope.time, stored.stored_at))
            if family == "session":
                self._session(told, kind)
            self._count(told.payload)
        elif family == "pool":
            with contextlib.suppress(codec.Undecodable):
                self._count(codec.payload_of(stored.envelope))
        self._handling.labels(family, kind).observe(time.perf_counter() - began)

    def _session(self, told: Told, kind: str) -> None:
        state, at = STATE_AFTER.get(kind), told.envelope.time
        was = self._stands.get(told.session)
        if state is None or (was is not None and was.state is state):
            return
        self._transitions.labels(was.state.value if was else "unknown", state.value).inc()
        starting = was.starting if was else None
        away = was.away if was else False
        if was is not None:
            self._stayed.labels(was.state.value).observe(_seconds(was.since, at))
        if state is State.STARTING:
            starting = at
        elif state in UNDER_WAY and starting is not None:
            self._starts.observe(_seconds(starting, at))
            starting = None
        if state in {State.OFFLINE, State.BACKING_OFF}:
            away = True
        elif state is State.READY:
            if away:
                self._reconnections.inc()
            away = False
        self._stands[told.session] = _Stand(state, at, starting, away)
        self._stands.move_to_end(told.session)
        if state is State.REMOVED or len(self._stands) > REMEMBERED:
            self._stands.pop(told.session if state is State.REMOVED else next(iter(self._stands)))

    def _count(self, payload: AnyPayload) -> None:
        match payload:
            case e.Crashed():
                self._crashes.labels(payload.reason if payload.reason in WHY else "other").inc()
            case e.Suspended():
                self._breakers.labels("session", "open").inc()
            case e.Probing():
                self._breakers.labels("session", "half_open").inc()
            case e.Recovered():
                self._breakers.labels("session", "closed").inc()
            case e.OperationsPaused():
                self._breakers.labels("page", "open").inc()
            case e.OperationsProbed():
                self._breakers.labels("page", "half_open").inc()
            case e.OperationsResumed():
                self._breakers.labels("page", "closed").inc()
            case pool.LaunchesPaused():
                self._breakers.labels("node", "open").inc()
            case pool.LaunchesProbed():
                self._breakers.labels("node", "half_open").inc()
            case pool.LaunchesResumed():
                self._breakers.labels("node", "closed").inc()
            case message.Received():
                self._messages.labels("in", "own" if payload.from_me else "received").inc()
            case message.Sent() | message.Failed() | message.Expired() | message.Unresolved():
                self._messages.labels("out", payload.kind).inc()
            case message.Delivered() | message.Read() | message.Played():
                self._messages.labels("out", payload.kind).inc()
            case _:
                pass


def _seconds(start: datetime, end: datetime) -> float:
    # Two machines' clocks: what took no time may seem to have taken less.
    return max(0.0, (end - start).total_seconds())
