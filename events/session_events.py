"""The catalogue of a session: the commands it takes and the events it leaves.

Commands are imperatives, events past tense or a reached state. Times are
aware UTC; delays are seconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from events.envelope import Payload

# --- commands -----------------------------------------------------------------


class Start(Payload):
    """Run the session: from rest, from a log-out, or after it was suspended by hand."""

    kind: ClassVar[str] = "start"


class Stop(Payload):
    """Rest the browser and keep the link. A stopped session is not brought back."""

    kind: ClassVar[str] = "stop"


class Restart(Payload):
    """Close the browser and start it again."""

    kind: ClassVar[str] = "restart"


class Logout(Payload):
    """Unlink from the phone and delete the profile."""

    kind: ClassVar[str] = "logout"


class Delete(Payload):
    """Log out where linked, then forget the session and all that belongs to it."""

    kind: ClassVar[str] = "delete"


class Reset(Payload):
    """Forget failures and start anew; `fresh` also drops the link and the profile."""

    kind: ClassVar[str] = "reset"

    fresh: bool = False


class Takeover(Payload):
    """Make this the active page again after WhatsApp was opened elsewhere."""

    kind: ClassVar[str] = "takeover"


class RefreshQr(Payload):
    """Ask WhatsApp for a new code now."""

    kind: ClassVar[str] = "refresh_qr"


SessionCommand = Start | Stop | Restart | Logout | Delete | Reset | Takeover | RefreshQr

# --- events -------------------------------------------------------------------


class Totals(Payload):
    """What must not shrink when messages expire from the log, or are long ago.

    `watermark` is WhatsApp's time of the newest message received: whoever owns
    the session next catches up from there.
    """

    received: int = 0
    sent: int = 0
    failed: int = 0
    reconnections: int = 0
    message_version: int = 0
    watermark: datetime | None = None


class Registered(Payload):
    """The session exists. Guarded by the tail of every `registered` there is."""

    kind: ClassVar[str] = "registered"

    user: str
    bot: str
    start: bool = True


class Claimed(Payload):
    """A new life of the owner begins; it moves the tail, so older writers are refused."""

    kind: ClassVar[str] = "claimed"

    life: str
    totals: Totals = Totals()


class Queued(Payload):
    """The session shall run and waits for a free browser slot.

    `fresh` says that the earlier link was dropped on request, `memory_mb` what the browser
    took that gives way to a new one for it.
    """

    kind: ClassVar[str] = "queued"

    reason: str
    fresh: bool = False
    memory_mb: int | None = None


class Starting(Payload):
    """A browser is being launched. Not linked, showing a code or ready by `deadline`."""

    kind: ClassVar[str] = "starting"

    attempt: int
    deadline: datetime


class LoadingSeen(Payload):
    """The page loads or synchronises; `percent` 0 to 100."""

    kind: ClassVar[str] = "loading"

    percent: int
    message: str


class Pairing(Payload):
    """The first QR code of this start is shown. The code itself is never stored."""

    kind: ClassVar[str] = "pairing"

    attempt: int
    expires: datetime


class QrRefreshed(Payload):
    """A further QR code is shown."""

    kind: ClassVar[str] = "qr_refreshed"

    attempt: int
    expires: datetime


class PairingCodeAsked(Payload):
    """A code to type into the phone is asked for, good until `expires`. It is never stored."""

    kind: ClassVar[str] = "pairing_code_asked"

    expires: datetime


class QrExhausted(Payload):
    """The configured number of codes went unscanned."""

    kind: ClassVar[str] = "qr_exhausted"

    attempts: int


class Authenticated(Payload):
    """The phone accepted the link; the page synchronises until `deadline` at the latest."""

    kind: ClassVar[str] = "authenticated"

    deadline: datetime


class AuthFailed(Payload):
    """Linking failed; the session stays as it is and another code can be tried."""

    kind: ClassVar[str] = "auth_failed"

    reason: str


class Ready(Payload):
    """The session sends and receives. `again`: a failure or a lost connection is over."""

    kind: ClassVar[str] = "ready"

    phone: str
    lid: str | None = None
    push_name: str | None = None
    again: bool = False


class Offline(Payload):
    """WhatsApp's own connection is away; the page tries by itself until `deadline`."""

    kind: ClassVar[str] = "offline"

    reason: str
    deadline: datetime


class Crashed(Payload):
    """The browser, the page or a deadline failed. `reason` is a stable word.

    `memory_mb` is what the browser took when it was weighed last, if it ever was.
    """

    kind: ClassVar[str] = "crashed"

    reason: str
    detail: str
    memory_mb: int | None = None


class BackingOff(Payload):
    """The next attempt comes `delay` seconds after the crash, at `until`."""

    kind: ClassVar[str] = "backing_off"

    attempt: int
    max_attempts: int
    delay: float
    until: datetime


class Suspended(Payload):
    """Too many failures in a row: the breaker is open until `until`, then one probe."""

    kind: ClassVar[str] = "suspended"

    failures: int
    until: datetime


class Probing(Payload):
    """The breaker is half open: exactly one start is tried.

    `rejected` counts the starts that were turned away up to here, as it does in `recovered`.
    """

    kind: ClassVar[str] = "probing"

    failures: int
    rejected: int = 0


class Recovered(Payload):
    """The failures are forgotten; the breaker is closed."""

    kind: ClassVar[str] = "recovered"

    failures: int
    rejected: int = 0


class OperationsPaused(Payload):
    """Calls into the page failed in a row: sends wait, questions are refused until `until`."""

    kind: ClassVar[str] = "operations_paused"

    failures: int
    rejected: int
    until: datetime


class OperationsProbed(Payload):
    """One call into the page is let through."""

    kind: ClassVar[str] = "operations_probed"

    rejected: int


class OperationsResumed(Payload):
    """Calls into the page work again."""

    kind: ClassVar[str] = "operations_resumed"

    rejected: int


class Parked(Payload):
    """WhatsApp is in use elsewhere; nothing is done until a takeover.

    `reason`: `CONFLICT` as WhatsApp tells it, or `account_in_use` where another
    session of this service has the account.
    """

    kind: ClassVar[str] = "parked"

    reason: str


class Rested(Payload):
    """Nobody scanned; nothing is done until a start.

    `reason`: `qr_exhausted`, or `owner_lost` where the node that showed the code is gone.
    """

    kind: ClassVar[str] = "rested"

    reason: str


class Blocked(Payload):
    """WhatsApp blocked the account. `reason` is WhatsApp's own word."""

    kind: ClassVar[str] = "blocked"

    reason: str


class LoggedOut(Payload):
    """The link is gone. `confirmed` is true when the page or the phone said so."""

    kind: ClassVar[str] = "logged_out"

    reason: str
    confirmed: bool = True


class Stopped(Payload):
    """The browser rests and the link is kept."""

    kind: ClassVar[str] = "stopped"

    reason: str
    totals: Totals = Totals()


class Removed(Payload):
    """The session is no more; its number of versions goes on if it is created again."""

    kind: ClassVar[str] = "removed"

    reason: Literal["deleted", "stale"] = "deleted"
    totals: Totals = Totals()


class ProfileSaved(Payload):
    """A snapshot of the profile was stored."""

    kind: ClassVar[str] = "profile_saved"

    generation: int
    bytes: int
    totals: Totals = Totals()


class ProfileRestored(Payload):
    """The profile came back from a snapshot; `older` if a newer one did not verify.

    `source` is `local` where no snapshot was left, and what this node kept from its
    own time with the session was better than nothing.
    """

    kind: ClassVar[str] = "profile_restored"

    generation: int
    source: Literal["disk", "redis", "local"]
    older: bool = False


SessionEvent = (
    Registered
    | Claimed
    | Queued
    | Starting
    | LoadingSeen
    | Pairing
    | QrRefreshed
    | PairingCodeAsked
    | QrExhausted
    | Authenticated
    | AuthFailed
    | Ready
    | Offline
    | Crashed
    | BackingOff
    | Suspended
    | Probing
    | Recovered
    | OperationsPaused
    | OperationsProbed
    | OperationsResumed
    | Parked
    | Rested
    | Blocked
    | LoggedOut
    | Stopped
    | Removed
    | ProfileSaved
    | ProfileRestored
)
