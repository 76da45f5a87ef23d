"""How far an endpoint is: one record, written whole, so that no crash leaves half of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from events.subjects import SessionId
from gateway.webhooks.lane import Lane

RECENT = 30
"""Deliveries that are remembered for people to look at."""


def key_of(endpoint_id: str) -> str:
    """Return the key of an endpoint's progress in the bucket."""
    return f"progress.{endpoint_id}"


class Delivered(BaseModel):
    """What became of one event lately. `status`: delivered, failing, dead or gone."""

    model_config = ConfigDict(frozen=True)

    id: str
    position: int
    event: str
    session: str
    status: str
    attempts: int
    error: str | None = None
    code: int | None = None
    replied: str | None = None
    at: datetime


class Stopped(BaseModel):
    """A lane with something in it: its first event, and how its tries went."""

    model_config = ConfigDict(frozen=True)

    position: int
    failures: int = 0
    attempts: int = 0
    since: datetime | None = None
    due: datetime | None = None
    error: str | None = None

    @classmethod
    def of(cls, lane: Lane) -> Stopped:
        """Note where a lane stands."""
        return cls(
            position=lane.waiting[0],
            failures=lane.failures,
            attempts=lane.attempts,
            since=lane.since,
            due=lane.due,
            error=lane.error,
        )

    def lane(self, session: SessionId, newest: int) -> Lane:
        """Make the lane again; what waited behind its first is still to be read."""
        return Lane(
            session=session,
            waiting=deque([self.position]),
            newest=newest,
            behind=True,
            failures=self.failures,
            attempts=self.attempts,
            since=self.since,
            due=self.due,
            error=self.error,
        )


class Totals(BaseModel):
    """What was done for an endpoint since it was created."""

    delivered: int = 0
    failures: int = 0
    dead: int = 0
    gone: int = 0
    replies: int = 0


class Progress(BaseModel):
    """Everything up to `position` was delivered, or waits in a lane that stands here."""

    model_config = ConfigDict(frozen=True)

    position: int
    writer: str = ""
    lanes: dict[str, Stopped] = {}
    recent: tuple[Delivered, ...] = ()
    totals: Totals = Totals()

    def encoded(self) -> bytes:
        """Write it for the bucket."""
        return self.model_dump_json(exclude_defaults=True).encode()

    def opened(self) -> Iterable[Lane]:
        """Make the lanes again."""
        for dotted, stopped in self.lanes.items():
            yield stopped.lane(SessionId.parse(dotted), self.position)
