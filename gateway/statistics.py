"""The pool in numbers, as HTTP and metrics show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from events.clock import utc_now
from events.settings import Settings
from gateway.breakers import by_state, listed
from gateway.wire import Json, uptime
from projections.views import NodeView, SessionView


def statistics(views: Sequence[SessionView], nodes: Sequence[NodeView], settings: Settings) -> Json:
    """Count sessions, by state and by user, and what they did. `averageUptime` in seconds."""
    now = utc_now()
    ready = [uptime(view, now) for view in views if view.word == "ready"]
    sent = sum(view.totals.sent for view in views)
    received = sum(view.totals.received for view in views)
    return {
        "total": len(views),
        "totalSessions": len(views),
        "readySessions": len(ready),
        "maxSessions": settings.max_sessions,
        "maxSessionsPerUser": settings.max_sessions_per_user,
        "byStatus": dict(Counter(view.word for view in views)),
        "byUser": dict(Counter(view.user for view in views)),
        "averageUptime": round(sum(ready) / len(ready)) if ready else 0,
        "messagesProcessed": sent + received,
        "messagesSent": sent,
        "messagesReceived": received,
        "messagesFailed": sum(view.totals.failed for view in views),
        "reconnections": sum(view.totals.reconnections for view in views),
        "breakers": by_state(listed(views, nodes, settings)),
    }
