"""What a session learns: about its page, its owner, and the time. Facts, not yet events."""

from __future__ import annotations

from dataclasses import dataclass

from events.session_events import Totals


@dataclass(frozen=True, slots=True)
class Claiming:
    """A new life of the owner begins."""

    life: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class Wanting:
    """The owner is up; a session that should run is queued.

    `orphaned`: the node that showed its code is gone, and with it whoever looked at it.
    """

    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class Launching:
    """A browser slot is free."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The page loads."""

    percent: int
    message: str


@dataclass(frozen=True, slots=True)
class CodeShown:
    """A QR code is on the page, valid for `ttl` seconds; `known` if only that is new."""

    ttl: float
    known: bool = False


@dataclass(frozen=True, slots=True)
class TypedCode:
    """Somebody wants a code to type into the phone instead of one to scan."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The page has credentials that WhatsApp accepted."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The page is the active one and synchronised."""

    phone: str
    lid: str | None
    push_name: str | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """WhatsApp's connection is away; the word is WhatsApp's."""

    word: str


@dataclass(frozen=True, slots=True)
class Conflicted:
    """WhatsApp Web was opened elsewhere with this link, or the account is another session's."""

    reason: str = "CONFLICT"


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The link is gone: the phone removed it, or the page logged out."""

    reason: str
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Banned:
    """WhatsApp blocked the account."""

    word: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The browser or the page is of no use any more; `reason` is a stable word.

    `memory_mb` is what it took when it was weighed last.
    """

    reason: str
    detail: str
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """The session's deadline has come."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The session has been ready for the quiet period."""


@dataclass(frozen=True, slots=True)
class Heavy:
    """The browser holds more memory than it may, and nothing is being done right now."""

    megabytes: int


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing was done with the session for its time to live."""


Fact = (
    Claiming
    | Wanting
    | Launching
    | Progress
    | CodeShown
    | TypedCode
    | Linked
    | Synced
    | Dropped
    | Conflicted
    | Unlinked
    | Banned
    | Failure
    | Due
    | Quiet
    | Heavy
    | Stale
)
