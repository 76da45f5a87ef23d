"""An endpoint: where somebody wants events posted to, and which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from events.clock import utc_now
from events.subjects import token
from gateway.frames import Frame
from gateway.webhooks.cipher import Cipher, Sealed

EVENTS = frozenset(
    {
        "auth-failed",
        "disconnected",
        "loading-progress",
        "message-ack",
        "message-failed",
        "message-from-me",
        "message-received",
        "qr-limit-reached",
        "session-activated",
        "session-authenticated",
        "session-disconnected",
        "session-disconnection-failed",
        "session-error",
        "session-ready",
        "session-reconnected",
        "session-reconnecting",
        "state-change",
    }
)
"""What can be asked for: every face of every event of the log. Codes are never stored."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What an endpoint is called, and whose it is; `user` None: an admin's, for every session."""

    user: str | None
    name: str

    def __post_init__(self) -> None:
        token(self.name, "name")

    @property
    def family(self) -> str:
        """The owner's part of the key. An admin has no user's place, whatever users are called."""
        return "admin" if self.user is None else f"user.{self.user}"

    @property
    def key(self) -> str:
        """The key in the bucket."""
        return f"{self.family}.{self.name}"


class Endpoint(BaseModel):
    """As it is kept. `id` is new each time one is created; `secrets` the newest first."""

    model_config = ConfigDict(frozen=True)

    id: str
    user: str | None
    name: str
    url: str
    events: tuple[str, ...]
    session: str | None = None
    secrets: tuple[Sealed, ...]
    created: datetime
    updated: datetime

    @property
    def called(self) -> Name:
        """What it is called, and whose it is."""
        return Name(self.user, self.name)

    def face(self, frame: Frame) -> str | None:
        """Name the first face of a frame that was asked for; None: the frame is not for it."""
        if self.user is not None and frame.user != self.user:
            return None
        if self.session is not None and frame.session != self.session:
            return None
        every = "*" in self.events
        return next((name for name, _ in frame.faces if every or name in self.events), None)

    def signed_with(self, cipher: Cipher) -> list[str]:
        """Return the secrets that sign now, the newest first; raises WrongKey."""
        now = utc_now()
        return [
            cipher.unseal(sealed, self.id)
            for sealed in self.secrets
            if sealed.until is None or now < sealed.until
        ]
