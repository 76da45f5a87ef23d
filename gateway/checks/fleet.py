"""The sessions: room for more, breakers, states, and those that are on their way back."""

from __future__ import annotations

import time
from collections import Counter

from events import subjects
from events.breaker import BreakerState
from events.clock import utc_now
from events.session import WITH_BROWSER, State
from events.subjects import SessionId
from gateway.breakers import by_state, listed
from gateway.checks.finding import ASK, Finding, Look
from gateway.crashes import WHY
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.wire import Json
from projections.views import SessionView

OVERDUE = 60.0
"""Seconds past its deadline from which on nobody seems to mind a session."""

STARTING = frozenset({State.QUEUED, State.STARTING, State.AUTHENTICATED})


async def session_pool(look: Look) -> Finding:
    """Look whether somebody takes creates, and whether a running session's owner is there."""
    parts, views = look.parts, await look.sessions()
    limit = parts.settings.max_sessions
    state = await parts.broker.jetstream.stream_info(
        subjects.COMMANDS, subjects_filter=subjects.ALL_CREATES
    )
    waiting = sum((state.state.subjects or {}).values())
    running = [view for view in views if State(view.state) in WITH_BROWSER]
    metrics: Json = {
        "sessions": len(views),
        "maxSessions": limit,
        "maxSessionsPerUser": parts.settings.max_sessions_per_user,
        "available": max(0, limit - len(views)),
        "browsers": len(running),
        "queued": sum(State(view.state) is State.QUEUED for view in views),
        "createsWaiting": waiting,
    }
    if running:
        # Another one each time; its owner answers even with a no.
        view = running[int(time.monotonic()) % len(running)]
        metrics["ownerAnswers"] = await _owner_answers(parts, SessionId(view.user, view.bot))
        if not metrics["ownerAnswers"]:
            mend = "The node of a running session does not answer: start it, or look at its log."
            return Finding(False, "The owner of a session does not answer", metrics, mend)
    if waiting > limit:
        mend = f"{waiting} creates wait and no node takes them: start a node."
        return Finding(False, "Nobody takes creates", metrics, mend)
    if len(views) >= limit:
        mend = f"All {limit} places are taken: delete sessions, or raise MAX_SESSIONS."
        return Finding(True, "The pool is full", metrics, mend)
    return Finding(True, f"{len(views)} of {limit} sessions", metrics)


async def _owner_answers(parts: Parts, session: SessionId) -> bool:
    try:
        await parts.asks.ask(session, "qr", timeout=ASK)
    except Problem as problem:
        return problem.reason not in {"no_owner", "no_answer"}
    return True


async def circuit_breakers(look: Look) -> Finding:
    """Count the breakers that are not closed."""
    parts, views = look.parts, await look.sessions()
    metrics: Json = by_state(listed(views, await parts.reads.nodes(), parts.settings))
    suspended = [view for view in views if view.starts.state is BreakerState.OPEN]
    if metrics["open"]:
        why = f" Sessions failed again and again: {_reasons(suspended)}." if suspended else ""
        mend = (
            f"{metrics['open']} breakers are open; each is tried anew by itself.{why} "
            "`wa breakers` says which; look at the node's log."
        )
        return Finding(False, f"{metrics['open']} open", metrics, mend)
    return Finding(True, "None is open", metrics)


async def sessions(look: Look) -> Finding:
    """Count sessions by state."""
    views = await look.sessions()
    found = Counter(view.word for view in views)
    metrics: Json = {
        "total": len(views),
        "byStatus": dict(found),
        "byState": dict(Counter(view.state for view in views)),
    }
    stuck = sum(_is_stuck(view) for view in views)
    if stuck:
        metrics["stuck"] = stuck
        mend = "A node should have acted on the deadlines of sessions: start it, look at its log."
        return Finding(False, f"{stuck} past a deadline", metrics, mend)
    blocked = sum(State(view.state) is State.BLOCKED for view in views)
    if blocked:
        mend = "WhatsApp blocked an account (auth_failed): see its phone, then delete the session."
        return Finding(False, f"{blocked} blocked by WhatsApp", metrics, mend)
    return Finding(True, f"{found['ready']} of {len(views)} ready", metrics)


def _is_stuck(view: SessionView) -> bool:
    """Tell whether a transitional state is well past its deadline: nobody minds the session."""
    return view.deadline is not None and (utc_now() - view.deadline).total_seconds() > OVERDUE


async def reconnection(look: Look) -> Finding:
    """Count the sessions that are trying to come back."""
    views = await look.sessions()
    away = [view for view in views if _comes_back(view)]
    metrics: Json = {
        "reconnecting": len(away),
        "reasons": dict(Counter(view.reason or "unknown" for view in away)),
        "reconnections": sum(view.totals.reconnections for view in views),
    }
    if not away:
        return Finding(True, "None is away", metrics)
    why = _reasons(away)
    told = f"{len(away)} of {len(views)} coming back: {why}"
    attempts = look.parts.settings.backoff_attempts
    mend = (
        f"{len(away)} of {len(views)} sessions: {why}. It is started again by itself, up to "
        f"{attempts} times in a row; if that does not help, look at the node's log"
    )
    many = len(away) > max(3, len(views) // 2)
    mend += ", the network, and whether WhatsApp changed." if many else "."
    return Finding(False, told, metrics, mend)


def _comes_back(view: SessionView) -> bool:
    state = State(view.state)
    if state in {State.BACKING_OFF, State.OFFLINE}:
        return True
    # On the way up again after a failure; `attempt` counts failures in these states.
    return state in STARTING and view.attempt > 0


def _reasons(views: list[SessionView]) -> str:
    """Say what befell sessions, the most frequent first. No ids: anyone may read this."""
    found = Counter(view.reason or "unknown" for view in views)
    return ", ".join(
        f"{WHY.get(reason, reason)}{f' ({count})' if len(found) > 1 else ''}"
        for reason, count in found.most_common(3)
    )
