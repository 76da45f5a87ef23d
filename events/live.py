"""Notices that are told and never stored: core NATS on `wa.live.<user>.<bot>.<kind>`."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from events.envelope import Payload


class Qr(Payload):
    """A QR code to scan. A credential: never logged, never written to a stream."""

    kind: ClassVar[str] = "qr"

    code: str
    attempt: int
    expires: datetime


class QueuePosition(Payload):
    """Where a start stands in the line for a free browser slot; 1 is next."""

    kind: ClassVar[str] = "queue"

    position: int


class Refused(Payload):
    """A command was answered with a no. `status` is the HTTP status that says the same."""

    kind: ClassVar[str] = "refused"

    command: str
    reason: str
    detail: str
    status: int
    retry_after: float | None = None


class Settled(Payload):
    """A command was carried out, or there was nothing to do; `state` is where it left things."""

    kind: ClassVar[str] = "settled"

    command: str
    state: str


class Usage(Payload):
    """What a session's browser holds: proportional memory in MB, share of one core.

    `mailbox` counts the messages that wait for the session's actor.
    """

    kind: ClassVar[str] = "usage"

    memory_mb: int
    cpu: float
    mailbox: int = 0


LiveNotice = Qr | QueuePosition | Refused | Settled | Usage
