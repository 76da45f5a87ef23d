"""What is, at the moment of a scrape: asked for then, and told by nobody in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from events.breaker import BreakerState
from events.session import EXISTING, WITH_BROWSER, WORDS, State
from events.subjects import SessionId
from gateway.breakers import Breaker, listed
from gateway.browsers import Taken
from gateway.health import Report
from gateway.parts import Parts
from projections.read import ReadModelsAway
from projections.views import ProjectionHealth, SessionView


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a scrape shows beside what was counted. `views` is None without Redis."""

    parts: Parts
    report: Report | None
    views: Sequence[SessionView] | None
    breakers: Sequence[Breaker] = ()
    projections: Sequence[ProjectionHealth] = ()
    taken: Mapping[SessionId, Taken] = field(default_factory=dict[SessionId, Taken])

    def families(self) -> Iterator[Metric]:
        """Give all of it as Prometheus knows it."""
        parts = self.parts
        yield _gauge(
            "wa_up",
            "1 if the gateway reaches it.",
            "service",
            {"redis": self.views is not None, "nats": parts.broker.connected},
        )
        yield _plain("wa_sessions_limit", "MAX_SESSIONS.", parts.settings.max_sessions)
        yield _plain("wa_live_connections", "Who watches, over all doors.", parts.feed.watching)
        yield _plain("wa_feed_up", "1 while the log is followed.", parts.feed.running)
        dropped = CounterMetricFamily("wa_live_dropped", "Readers dropped as too slow.")
        dropped.add_metric([], parts.feed.dropped)
        yield dropped
        sends = CounterMetricFamily(
            "wa_sends", "Sends over HTTP by how they stood in the answer.", labels=["outcome"]
        )
        for outcome, count in parts.sender.outcomes.items():
            sends.add_metric([outcome], count)
        yield sends
        limits = CounterMetricFamily(
            "wa_rate_limit_decisions",
            "Requests that a rate limit let through or turned away.",
            labels=["limit", "decision"],
        )
        for family, decision, count in parts.quotas.decisions():
            limits.add_metric([family, decision], count)
        yield limits
        yield from self._browsers()
        if self.views is not None:
            # Without Redis none of these: old numbers would look like news.
            yield from self._sessions(self.views)
        if self.report is not None:
            yield from _health(self.report)

    def _sessions(self, views: Sequence[SessionView]) -> Iterator[Metric]:
        states = Counter(view.state for view in views)
        sessions = GaugeMetricFamily(
            "wa_sessions", "Sessions by state, with the word for it.", labels=["state", "status"]
        )
        for state in sorted(EXISTING):
            sessions.add_metric([state.value, WORDS[state]], states[state.value])
        yield sessions
        breakers = GaugeMetricFamily(
            "wa_breakers", "Breakers by kind and state.", labels=["breaker", "state"]
        )
        found = Counter((breaker.type, breaker.state) for breaker in self.breakers)
        for kind in ("session", "page", "node"):
            for state in BreakerState:
                breakers.add_metric([kind, state.value], found[kind, state])
        yield breakers
        yield _gauge(
            "wa_projection_lag_events",
            "Events by which a projection is behind the log.",
            "projection",
            {one.projection: one.lag for one in self.projections if one.lag is not None},
        )
        yield _gauge(
            "wa_projection_stopped",
            "1 if a projection stopped at an event.",
            "projection",
            {one.projection: one.stopped is not None for one in self.projections},
        )

    def _browsers(self) -> Iterator[Metric]:
        """A label for each browser: no more than MAX_SESSIONS, the largest first."""
        held = {session.joined: taken for session, taken in self.taken.items()}
        yield _gauge(
            "wa_session_memory_bytes",
            "Memory of a session's browser, shared pages in shares.",
            "session",
            {session: taken.memory for session, taken in held.items()},
        )
        yield _gauge(
            "wa_session_cpu_cores",
            "CPU that a session's browser takes.",
            "session",
            {session: taken.cpu for session, taken in held.items()},
        )
        yield _gauge(
            "wa_session_mailbox_messages",
            "Messages that wait for a session's actor.",
            "session",
            {session: taken.mailbox for session, taken in held.items()},
        )


async def snapshot(parts: Parts, report: Report | None) -> Snapshot:
    """Ask for what is now."""
    try:
        views = await parts.directory.every()
        breakers = listed(views, await parts.reads.nodes(), parts.settings)
        projections = await parts.reads.health()
    except ReadModelsAway:
        return Snapshot(parts, report, None, taken=parts.browsers.now(None))
    running = {SessionId(v.user, v.bot) for v in views if State(v.state) in WITH_BROWSER}
    return Snapshot(parts, report, views, breakers, projections, parts.browsers.now(running))


def _health(report: Report) -> Iterator[Metric]:
    yield _gauge(
        "wa_health_check_up",
        "1 if a health check was well at the last look.",
        "check",
        {name: check["healthy"] for name, check in report.checks.items()},
    )
    kept = report.checks["persistence"]["metrics"]
    streams = {name: held for name, held in kept.items() if name.startswith("WA_")}
    yield _gauge(
        "wa_stream_messages",
        "Messages in a stream at the last look.",
        "stream",
        {name: held["messages"] for name, held in streams.items()},
    )
    yield _gauge(
        "wa_stream_bytes",
        "Bytes in a stream at the last look.",
        "stream",
        {name: held["bytes"] for name, held in streams.items()},
    )
    if "disk" in kept:
        yield _plain("wa_disk_free_bytes", "Room on the disk of DATA_DIR.", kept["disk"]["free"])
        yield _plain("wa_disk_size_bytes", "Size of the disk of DATA_DIR.", kept["disk"]["total"])


def _gauge(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=[label])
    for value, number in values.items():
        family.add_metric([value], float(number))
    return family


def _plain(name: str, told: str, number: float) -> Metric:
    return GaugeMetricFamily(name, told, value=float(number))
