"""A node's pool: its commands and events."""

from __future__ import annotations

from typing import ClassVar, Literal

from events.envelope import Payload


class Create(Payload):
    """Register a session and start it. The same pair again is no error.

    `fresh` drops an existing link and starts over (`forceNew` outside).
    `start` false registers only.
    """

    kind: ClassVar[str] = "create"

    bot: str
    fresh: bool = False
    start: bool = True


class NodeStarted(Payload):
    """A node begins a life; `sessions` is how many are registered, here and elsewhere."""

    kind: ClassVar[str] = "node_started"

    sessions: int
    max_sessions: int
    max_per_user: int
    software: str


class NodeStopped(Payload):
    """A node ended cleanly."""

    kind: ClassVar[str] = "node_stopped"

    reason: str


class NodeDraining(Payload):
    """A node hands its sessions over: `left` of `total` are still there; 0: it is empty."""

    kind: ClassVar[str] = "node_draining"

    left: int
    total: int


CreateRefusal = Literal["user_limit", "pool_full", "id_taken", "bad_id", "launches_paused"]
"""Why a create is answered with a no."""


class CreateRefused(Payload):
    """A create was answered with a no; `reason` is a stable word."""

    kind: ClassVar[str] = "create_refused"

    user: str
    bot: str
    reason: CreateRefusal
    detail: str


class LaunchesPaused(Payload):
    """The node's launch breaker opened: starts drop to one probe at a time."""

    kind: ClassVar[str] = "launches_paused"

    reason: str
    failures: int
    retry_in: float
    rejected: int


class LaunchesProbed(Payload):
    """The node's launch breaker is half open: exactly one start is let through."""

    kind: ClassVar[str] = "launches_probed"

    session: str
    rejected: int
    failures: int = 0


class LaunchesResumed(Payload):
    """The node's launch breaker closed again."""

    kind: ClassVar[str] = "launches_resumed"

    rejected: int


PoolEvent = (
    NodeStarted
    | NodeStopped
    | NodeDraining
    | CreateRefused
    | LaunchesPaused
    | LaunchesProbed
    | LaunchesResumed
)
