"""What a session needs of a browser, whoever provides it.

Two providers exist: Chromium driven by pyppeteer, and the fake of the tests.
Both pass the same contract tests. All methods are coroutines of the node's
loop thread; none of them touches an actor. What happens in the page comes
back as `Sighting`s through the `notify` callable, on the loop thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from events.content import Content


class BrowserError(Exception):
    """The browser could not do what was asked."""


class NoBrowser(BrowserError):
    """No browser binary was found, or it cannot be executed."""


class LaunchFailed(BrowserError):
    """The browser process ended, or never spoke, while it was being started."""


class ProfileBusy(BrowserError):
    """Another process holds the lock of this profile folder."""


class Unreachable(BrowserError):
    """WhatsApp Web could not be loaded: no route, a TLS error, or an HTTP error."""


class PageGone(BrowserError):
    """The page crashed, the process ended, or the connection to it broke."""


class PageTimeout(BrowserError):
    """The page did not answer within the deadline of the call. The outcome is unknown."""


class PageReloaded(PageTimeout):
    """The page went to another document while the call was in it. The outcome is unknown."""


class PageRefused(BrowserError):
    """The page answered that it cannot do this now, or that it failed before anything was done.

    `code` is "not_ready" before WhatsApp is loaded (for a send: synchronised) in the
    page, "not_linked" where the call needs an account, else wa-js's word.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


class NotSent(BrowserError):
    """WhatsApp refused the message for good; `reason` is a stable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the linked account is. Ids as they go out, `…@c.us` and `…@lid`."""

    phone: str
    lid: str | None
    push_name: str | None


@dataclass(frozen=True, slots=True)
class PageStatus:
    """What the page says of itself right now: measured, never derived.

    `socket` is WhatsApp's own word (OPENING, PAIRING, UNPAIRED, UNPAIRED_IDLE,
    CONNECTED, TIMEOUT, CONFLICT, UNLAUNCHED, PROXYBLOCK, TOS_BLOCK,
    SMB_TOS_BLOCK, DEPRECATED_VERSION) or "" before its modules are there;
    `mode` is Stream.mode (QR, MAIN, SYNCING, OFFLINE, CONFLICT, …) or "".
    """

    socket: str
    mode: str
    authenticated: bool
    identity: Identity | None


# --- what is seen in the page -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loading:
    """The page loads or synchronises: percent 0 to 100, and what it says of it."""

    percent: int
    message: str


@dataclass(frozen=True, slots=True)
class QrShown:
    """A QR code is on the page. `code` is a credential: never log or store it.

    `painted` is read off the page before wa-js is in it: its `ttl` in seconds is the
    shortest that WhatsApp gives, and that it is shown is no proof of a link that is gone.
    """

    code: str
    ttl: float
    painted: bool = False

    @property
    def ref(self) -> str:
        """What tells one code from another; wa-js and the page end theirs differently."""
        return self.code.partition(",")[0]


@dataclass(frozen=True, slots=True)
class QrIdle:
    """WhatsApp stopped showing codes and waits for a click to go on."""


@dataclass(frozen=True, slots=True)
class StateSeen:
    """The connection state changed, or is being told for the first time."""

    status: PageStatus


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The page says the account was unlinked. `reason` is WhatsApp's word or ""."""

    reason: str


@dataclass(frozen=True, slots=True)
class MediaSeen:
    """The file of a message, as its sender described it: size in bytes, sha256 in hex."""

    mime: str
    name: str | None
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class MessageSeen:
    """A message of a chat, in either direction, as WhatsApp keeps it.

    `wa_id` is the bare id, `key` the full one (`<fromMe>_<remote>_<id>[_<participant>]`).
    `at` is WhatsApp's own time, to the second. `author` is the participant in groups.
    """

    wa_id: str
    key: str
    chat: str
    sender: str
    author: str | None
    from_me: bool
    kind: str
    body: str
    at: datetime
    ack: int
    push_name: str | None = None
    quoted: str | None = None
    media: MediaSeen | None = None


@dataclass(frozen=True, slots=True)
class AckSeen:
    """WhatsApp moved a message's ack: 1 server, 2 delivered, 3 read, 4 played, -1 failed."""

    wa_id: str
    key: str
    chat: str
    ack: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The page or the browser ended: `reason` is a stable word, `detail` for people.

    Words: "page_crashed", "browser_exited", "connection_lost".
    Told once; nothing follows it.
    """

    reason: str
    detail: str


Sighting = Loading | QrShown | QrIdle | StateSeen | LoggedOut | MessageSeen | AckSeen | Gone
Notify = Callable[[Sighting], None]


# --- the browser --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as the page lists it. `at` is the time of its last message."""

    id: str
    name: str | None
    unread: int
    group: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group this account is a member of; `members` are ids as they go out."""

    id: str
    name: str | None
    members: list[str]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The two addresses of one account, as far as WhatsApp tells: `…@c.us` and `…@lid`."""

    phone: str | None
    lid: str | None


@dataclass(frozen=True, slots=True)
class File:
    """The file of a message, with its bytes. `name` is as its sender wrote it."""

    mime: str
    name: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one send hands over: text or caption, content, what it answers, the bytes of media."""

    body: str
    content: Content | None = None
    quoted: str | None = None
    attachment: bytes = b""


class Browser(Protocol):
    """One browser process with one WhatsApp page, bound to one profile folder.

    Every call has its own deadline inside and raises `PageTimeout` after it,
    or `PageGone` as soon as the page is known to be dead. A pending call is
    never cancelled: its late answer is dropped.
    """

    @property
    def pid(self) -> int | None:
        """The process id of the running browser."""
        ...

    async def start(self, notify: Notify) -> None:
        """Launch, open WhatsApp Web, inject, subscribe, then tell the current state.

        Raises NoBrowser, LaunchFailed, ProfileBusy or Unreachable; nothing is
        left running when it raises. Returning says only that the page was
        loaded: QR codes, progress and readiness come as sightings.
        """
        ...

    async def status(self) -> PageStatus:
        """Ask the page. The liveness probe."""
        ...

    async def send_text(self, to: str, body: str, wa_id: str) -> MessageSeen:
        """Send under the WhatsApp id we chose; returns when the server acknowledged.

        `to` is a chat id (`…@c.us`, `…@g.us`, `…@lid`). Raises NotSent for a
        refusal (reasons: "not_on_whatsapp", "chat_not_found", "rejected"),
        PageTimeout or PageGone when the outcome is unknown.
        """
        ...

    async def send(self, to: str, parcel: Parcel, wa_id: str) -> MessageSeen:
        """Send anything, as `send_text` does a text.

        A reaction and a deletion have no id of their own in WhatsApp: done twice they
        are done once, and what returns is the message they are about, under `wa_id`.
        Raises NotSent also for "message_not_found" and "cannot_delete".
        """
        ...

    async def fetch_media(self, message: str, largest: int) -> File:
        """Return the file of a message, given its key, or its bare id while it is in memory.

        Raises PageRefused: "too_large" for more than `largest` bytes, "not_found"
        where WhatsApp has them no more.
        """
        ...

    async def find_message(self, to: str, wa_id: str) -> MessageSeen | None:
        """Look up a message of ours by its bare id under every address of the chat."""
        ...

    async def messages_since(self, since: datetime | None) -> list[MessageSeen]:
        """Every message the page holds with `at >= since`, all chats, oldest first.

        `since=None` means only what is unread: a new link does not import its history.
        """
        ...

    async def chats(self) -> list[Chat]:
        """List chats, newest first."""
        ...

    async def messages(self, chat: str, limit: int) -> list[MessageSeen]:
        """Read the last messages of a chat, oldest first."""
        ...

    async def check_number(self, number: str) -> str | None:
        """Return the WhatsApp id behind a chat id or number, or None where there is none."""
        ...

    async def groups(self) -> list[Group]:
        """List the groups this account is a member of, by id."""
        ...

    async def addresses(self, contact: str) -> Addresses:
        """Return both addresses of a contact, given either (`…@c.us` or `…@lid`)."""
        ...

    async def mark_seen(self, chat: str) -> None:
        """Mark a chat as read."""
        ...

    async def set_typing(self, chat: str, typing: bool) -> None:
        """Show or stop showing "typing…" in a chat."""
        ...

    async def copy_profile(self, into: Path) -> None:
        """Copy what belongs to the link into a new folder, as it is at one instant.

        Raises PageGone where no browser runs, and OSError.
        """
        ...

    async def refresh_qr(self) -> None:
        """Ask WhatsApp for a new QR code; it comes as a `QrShown`."""
        ...

    async def pairing_code(self, phone: str) -> str:
        """Ask for the code a person types into the phone with this number (digits only)."""
        ...

    async def take_over(self) -> None:
        """Make this page the active one after a CONFLICT ("use here")."""
        ...

    async def log_out(self) -> None:
        """Unlink this device from the account. Returns when the page confirmed it."""
        ...

    async def screenshot(self) -> bytes:
        """Return a PNG of the page as it is."""
        ...

    async def close(self) -> bool:
        """Close gracefully, then kill the process group, then reap. True if it was graceful.

        Never raises and never hangs; may be called in any state and twice.
        """
        ...


class Launcher(Protocol):
    """Makes browsers; keeps what all of them share."""

    def browser(self, profile: Path, owner: str) -> Browser:
        """Prepare a browser for a profile folder. Starts nothing. `owner` is for the logs."""
        ...

    async def reap_orphans(self) -> int:
        """Kill browsers an earlier life of this node left behind; returns how many."""
        ...
