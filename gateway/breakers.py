"""Every breaker there is, in one list: of sessions' starts, of their pages, of nodes' launches.

A session's breakers are closed by hand with its own route. A node's is not: it
lets one launch through by itself, seconds later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from events.breaker import BreakerState
from events.settings import Settings
from gateway.answers import Answer, answer, errors
from gateway.callers import Who, needs
from gateway.parts import Parts, Use
from gateway.wire import Wire, instant
from projections.views import BreakerView, NodeView, SessionView

router = APIRouter(prefix="/api/breakers", tags=["sessions"])


class Breaker(Wire):
    """A breaker as of its last transition: that is when it says what it turned away.

    `session` and `page` are a session's, for starts and for calls into its page; `node`
    is a node's, for launches of browsers. `since` is null while it has never moved.
    """

    type: Literal["session", "page", "node"]
    session_id: str | None = None
    node: str | None = None
    state: BreakerState
    failures: int
    threshold: int
    next_attempt: str | None
    rejected: int
    since: str | None


class BreakersAnswer(Answer):
    """All breakers; `open` counts those that let nothing through."""

    breakers: list[Breaker]
    total: int
    open: int


async def everything(parts: Parts, user: str | None = None) -> list[Breaker]:
    """List the breakers, or those of one user's sessions alone; raises ReadModelsAway."""
    nodes = [] if user else await parts.reads.nodes()
    return listed(await parts.directory.every(user), nodes, parts.settings)


def listed(
    views: Sequence[SessionView], nodes: Sequence[NodeView], settings: Settings
) -> list[Breaker]:
    """Show the breakers of sessions, then those of the nodes that run."""
    # Suspended is what follows when the last attempt of a backoff has failed too.
    starts = settings.backoff_attempts + 1
    found: list[Breaker] = []
    for view in views:
        found.append(_breaker("session", view.starts, starts, session=view.session))
        pages = settings.page_breaker_failures
        found.append(_breaker("page", view.page, pages, session=view.session))
    for node in nodes:
        if node.launches is not None:
            launches = settings.node_breaker_failures
            found.append(_breaker("node", node.launches, launches, node=node.node))
    return found


def by_state(breakers: Sequence[Breaker]) -> dict[str, int]:
    """Count breakers by state, every state named."""
    found = Counter(breaker.state for breaker in breakers)
    return {state.value: found[state] for state in BreakerState}


def _breaker(
    kind: Literal["session", "page", "node"],
    view: BreakerView,
    threshold: int,
    *,
    session: str | None = None,
    node: str | None = None,
) -> Breaker:
    return Breaker(
        type=kind,
        session_id=session,
        node=node,
        state=view.state,
        failures=view.failures,
        threshold=threshold,
        next_attempt=None if view.next_attempt is None else instant(view.next_attempt),
        rejected=view.rejected,
        since=None if view.since is None else instant(view.since),
    )


@router.get(
    "", summary="List every breaker", responses={200: {"model": BreakersAnswer}} | errors(503)
)
@needs("read")
async def listing(parts: Use, caller: Who) -> Response:
    """List what lets through and what does not: state, failures, what was turned away.

    A user's key is shown those of the user's sessions; the nodes' are for admins.
    """
    found = await everything(parts, caller.user)
    count = by_state(found)[BreakerState.OPEN]
    return answer(BreakersAnswer(breakers=found, total=len(found), open=count))
