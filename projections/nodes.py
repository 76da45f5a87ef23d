"""What the nodes' pools say of their launch breakers: the last event of each tells all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from events import codec
from events.breaker import BreakerState
from events.log import Stored
from events.pool import (
    LaunchesPaused,
    LaunchesProbed,
    LaunchesResumed,
    NodeStarted,
    NodeStopped,
)
from events.subjects import BadToken, token
from projections.facts import Stuck, family_of
from projections.views import BreakerView, NodeView

Launches = NodeStarted | NodeStopped | LaunchesPaused | LaunchesProbed | LaunchesResumed
"""The events of a pool after which its breaker is known, whatever came before."""

_KINDS = frozenset(
    kind.kind
    for kind in (NodeStarted, NodeStopped, LaunchesPaused, LaunchesProbed, LaunchesResumed)
)


def newest(batch: Sequence[Stored]) -> tuple[list[NodeView], Stuck | None]:
    """Return the last word of every node in a batch, up to the first that cannot be read."""
    said: dict[str, NodeView] = {}
    for stored in batch:
        if family_of(stored) == "pool" and stored.subject.rpartition(".")[2] in _KINDS:
            try:
                view = _view(stored)
            except Stuck as stuck:
                return list(said.values()), stuck
            said[view.node] = view
    return list(said.values()), None


def _view(stored: Stored) -> NodeView:
    try:
        node = token(stored.subject.split(".")[3], "node")
        envelope = stored.envelope
        event = codec.payload_of(envelope)
    except (codec.Undecodable, BadToken) as error:
        raise Stuck(stored.position, f"{stored.subject}: {error}") from error
    if not isinstance(event, Launches):
        raise Stuck(stored.position, f"{stored.subject}: not an event of a pool")
    return NodeView(node=node, launches=_launches(event, envelope.time), position=stored.position)


def _launches(event: Launches, at: datetime) -> BreakerView | None:
    match event:
        case NodeStarted():
            # The breaker lives in the node's memory: a new life begins with a new one.
            return BreakerView()
        case NodeStopped():
            return None
        case LaunchesPaused():
            return BreakerView(
                state=BreakerState.OPEN,
                failures=event.failures,
                rejected=event.rejected,
                next_attempt=at + timedelta(seconds=event.retry_in),
                since=at,
            )
        case LaunchesProbed():
            return BreakerView(
                state=BreakerState.HALF_OPEN,
                failures=event.failures,
                rejected=event.rejected,
                since=at,
            )
        case LaunchesResumed():
            return BreakerView(rejected=event.rejected, since=at)
        case _:
            assert_never(event)
