"""A browser without a browser: WhatsApp, phones and pages in memory, scripted by tests.

It passes the contract tests that Chromium passes (`tests/contract/test_browser.py`).
Nothing sleeps and nothing polls: what happens is what a test makes happen. Every
control may be called from any thread; it runs on the loop of the browser it is
about, and its sightings were told when it returns.

    whatsapp = FakeWhatsApp()
    launcher = FakeLauncher(whatsapp)
    browser = launcher.browser(profile, "ann-bot")
    await browser.start(notify)             # StateSeen(UNPAIRED), QrShown
    browser.scan("15550001111")             # PAIRING, Loading, StateSeen(MAIN)
    whatsapp.deliver("15550001111", "15557654321@c.us", "hi")        # MessageSeen
    await browser.send_text("15557654321@c.us", "yo", "3EB0…")       # MessageSeen, AckSeen
    whatsapp.ack("15550001111", "3EB0…", 3)                          # AckSeen
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from actors.browser.protocol import (
    AckSeen,
    Addresses,
    BrowserError,
    Chat,
    File,
    Gone,
    Group,
    Identity,
    LaunchFailed,
    Loading,
    LoggedOut,
    MediaSeen,
    MessageSeen,
    Notify,
    NotSent,
    PageGone,
    PageRefused,
    PageStatus,
    PageTimeout,
    Parcel,
    ProfileBusy,
    QrIdle,
    QrShown,
    Sighting,
    StateSeen,
)
from actors.vault import archive
from events.content import Contact, Deletion, Location, Media, Reaction

CREDENTIALS = Path("Default/IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb")
"""Where the real page keeps its link."""

SHORTEST_TTL = 20.0
"""Seconds that a code read off the page is taken to be good for."""

PNG = b"\x89PNG\r\n\x1a\n fake"

# How the next sends end. The first word of each says what WhatsApp saw of it.
#   accepted          the ordinary case: kept, acked by the server, returned
#   accepted_silently kept and acked, but the caller's deadline passes first: PageTimeout
#   accepted_crash    kept and acked, then the page crashes: PageGone
#   pending           in the page with ack 0, the server has not seen it: PageTimeout; the
#                     page hands it over by itself when it is ready the next time
#   lost              nobody has it: PageTimeout
#   lost_crash        nobody has it, and the page crashes: PageGone
#   untaken           the page throws before it has it: PageRefused
#   any other word    refused for good: NotSent(word)
SendOutcome = str


def ticking() -> Callable[[], datetime]:
    """Make a clock on which every reading is one second after the last."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    readings = 0

    def now() -> datetime:
        nonlocal readings
        readings += 1
        return start + timedelta(seconds=readings)

    return now


@dataclass
class FakeChat:
    """A conversation as an account keeps it, whoever is looking."""

    id: str
    name: str | None = None
    unread: int = 0
    members: list[str] = field(default_factory=list[str])
    messages: dict[str, MessageSeen] = field(default_factory=dict[str, MessageSeen])

    @property
    def at(self) -> datetime | None:
        """Time of the last message."""
        return max((m.at for m in self.messages.values()), default=None)


@dataclass
class FakeAccount:
    """A phone with WhatsApp on it, and what WhatsApp's servers keep for it."""

    number: str
    push_name: str | None = "Sim"
    chats: dict[str, FakeChat] = field(default_factory=dict[str, FakeChat])
    media: dict[str, bytes] = field(default_factory=dict[str, bytes])  # by bare id
    reactions: dict[str, str] = field(default_factory=dict[str, str])  # ours, by bare id
    # How often the server was handed each of our ids: 1 is right, more is a repeat.
    handed_over: Counter[str] = field(default_factory=Counter[str])

    @property
    def id(self) -> str:
        """The account's own chat id."""
        return f"{self.number}@c.us"

    @property
    def identity(self) -> Identity:
        """What a linked page says of its owner."""
        return Identity(self.id, f"9{self.number}@lid", self.push_name)

    @property
    def repeats(self) -> dict[str, int]:
        """Ids the server was given more than once, and how often too many."""
        return {wa_id: times - 1 for wa_id, times in self.handed_over.items() if times > 1}

    def chat(self, chat_id: str) -> FakeChat:
        """Return a chat, made where there is none."""
        return self.chats.setdefault(chat_id, FakeChat(chat_id))

    def find(self, wa_id: str) -> MessageSeen | None:
        """Look a message up by its bare id in every chat."""
        found = (chat.messages.get(wa_id) for chat in self.chats.values())
        return next((message for message in found if message), None)


def _new_code() -> str:
    return f"2@{secrets.token_urlsafe(12)},keys"


class FakeWhatsApp:
    """What outlives every browser: accounts, and which profile is linked to which."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or ticking()
        self.accounts: dict[str, FakeAccount] = {}
        self.links: dict[str, str] = {}  # linked device -> number
        self.unknown: set[str] = set()  # chat ids of numbers that are not on WhatsApp
        self.lids: dict[str, str] = {}  # phone id -> the LID under which its chat lives
        self.sends: deque[SendOutcome] = deque()  # outcomes of the next sends
        self.slow_sync = False  # a linked page stays SYNCING until `finish_sync()`
        self.rejects_version = False  # every page that connects is told DEPRECATED_VERSION
        self.without_wa_js = False  # pages paint a code, and wa-js never gets into them
        self.qr_ttl = 20.0
        self.pages: list[FakeBrowser] = []

    def account(self, number: str, push_name: str | None = "Sim") -> FakeAccount:
        """Return the account of a number, made where there is none."""
        return self.accounts.setdefault(number, FakeAccount(number, push_name))

    def linked(self, number: str) -> list[FakeBrowser]:
        """Every running page that is linked to this account."""
        return [page for page in self.pages if page.number == number]

    def deliver(
        self,
        number: str,
        sender: str,
        body: str,
        *,
        chat: str | None = None,
        wa_id: str | None = None,
        kind: str = "chat",
        push_name: str | None = "Alice",
        at: datetime | None = None,
        media: MediaSeen | None = None,
        content: bytes | None = None,
    ) -> MessageSeen:
        """Deliver a message; linked pages that are online see it, the others find it later."""
        account, wa_id = self.account(number), wa_id or new_id()
        if content is not None:
            account.media[wa_id] = content
        remote = chat or sender
        author = sender if remote.endswith("@g.us") else None
        message = MessageSeen(
            wa_id=wa_id,
            key=key_of(False, self.lids.get(remote, remote), wa_id, author),
            chat=remote,
            sender=sender,
            author=author,
            from_me=False,
            kind=kind,
            body=body,
            at=at or self.now(),
            ack=1,
            push_name=push_name,
            media=media,
        )
        conversation = account.chat(remote)
        if wa_id in conversation.messages:
            return conversation.messages[wa_id]
        conversation.messages[wa_id] = message
        conversation.unread += 1
        self._tell(number, message)
        return message

    def from_phone(self, number: str, chat: str, body: str) -> MessageSeen:
        """Let the owner write from the phone: our pages see a message of our own."""
        return self.write(number, chat, Parcel(body), new_id(), ack=1)

    def ack(self, number: str, wa_id: str, ack: int) -> None:
        """Move a message's ack, as its receiver's phone or the server does."""
        account = self.account(number)
        message = account.find(wa_id)
        if message is None:
            raise LookupError(wa_id)
        if ack >= 1 and message.ack < 1:
            account.handed_over[wa_id] += 1
        account.chat(message.chat).messages[wa_id] = replace(message, ack=ack)
        self._tell(number, AckSeen(wa_id, message.key, message.chat, ack))

    def pair(self, profile: Path, number: str) -> None:
        """Link a profile: here, and in its files, without which its page is a new device."""
        (profile / CREDENTIALS).mkdir(parents=True, exist_ok=True)
        for name in ("CURRENT", "MANIFEST-000001"):
            (profile / CREDENTIALS / name).write_text("MANIFEST-000001\n")
        device = new_id()
        (profile / CREDENTIALS / "link").write_text(device)
        self.links[device] = number

    def device_of(self, profile: Path) -> str | None:
        """Read a profile's credentials, wherever it was copied to."""
        try:
            return (profile / CREDENTIALS / "link").read_text()
        except OSError:
            return None

    def unlink(self, number: str, reason: str = "unknown_companion") -> None:
        """Remove our devices on the phone; pages that are not open notice at their next start."""
        pages = self.linked(number)
        for device in [d for d, owner in self.links.items() if owner == number]:
            del self.links[device]
        for page in pages:
            page.on_loop(lambda page=page: page.lose_link(reason))

    def write(
        self, number: str, chat: str, parcel: Parcel, wa_id: str, ack: int = 0
    ) -> MessageSeen:
        """Put a message of our own into its chat; every linked page sees it."""
        account = self.account(number)
        content = parcel.content
        media = None
        if isinstance(content, Media):
            account.media[wa_id] = parcel.attachment
            digest = hashlib.sha256(parcel.attachment).hexdigest()
            media = MediaSeen(content.mime, content.name, len(parcel.attachment), digest)
        author = account.id if chat.endswith("@g.us") else None
        message = MessageSeen(
            wa_id=wa_id,
            key=key_of(True, self.lids.get(chat, chat), wa_id, author),
            chat=chat,
            sender=account.id,
            author=author,
            from_me=True,
            kind=_kind_of(parcel),
            body=parcel.body,
            at=self.now(),
            ack=ack,
            quoted=parcel.quoted,
            media=media,
        )
        account.chat(chat).messages[wa_id] = message
        self._tell(number, message)
        return message

    def _tell(self, number: str, sighting: Sighting) -> None:
        for page in self.linked(number):
            if page.online:
                page.on_loop(lambda page=page: page.see(sighting))


class FakeLauncher:
    """Makes fake browsers, and fails or holds launches on request."""

    def __init__(self, whatsapp: FakeWhatsApp | None = None) -> None:
        self.whatsapp = whatsapp or FakeWhatsApp()
        self.browsers: list[FakeBrowser] = []
        self.failures: deque[BrowserError] = deque()  # what the next launches raise
        self.always: BrowserError | None = None  # what every launch raises
        self.holding = False  # launches wait until `release()`
        self.starts = 0
        self.orphans = 0

    def browser(self, profile: Path, owner: str) -> FakeBrowser:
        """Prepare a browser for a profile folder."""
        browser = FakeBrowser(self, profile, owner)
        self.browsers.append(browser)
        return browser

    async def reap_orphans(self) -> int:
        """Answer what a test put into `orphans`, once."""
        found, self.orphans = self.orphans, 0
        return found

    def of(self, owner: str) -> FakeBrowser:
        """The newest browser of an owner."""
        return next(b for b in reversed(self.browsers) if b.owner == owner)

    @property
    def running(self) -> list[FakeBrowser]:
        """Browsers that were started and not ended."""
        return [b for b in self.browsers if b.running]

    def fail(self, *errors: BrowserError) -> None:
        """Let the next launches raise these, in order."""
        self.failures.extend(errors)

    def fail_always(self, error: BrowserError | None = None) -> None:
        """Let every launch raise this from now on."""
        self.always = error or LaunchFailed("scripted")

    def mend(self) -> None:
        """Let launches succeed again."""
        self.always = None
        self.failures.clear()

    def hold(self) -> None:
        """Let launches hang in `start()` until `release()`."""
        self.holding = True

    def release(self) -> None:
        """Let the held launches go on, and later ones through."""
        self.holding = False
        for browser in self.browsers:
            browser.on_loop(browser.open_gate)


Phase = Literal["new", "starting", "up", "gone", "closed"]


class FakeBrowser:
    """One fake page, bound to a profile path; its link survives in the profile's files."""

    _last_pid = 100_000

    def __init__(self, launcher: FakeLauncher, profile: Path, owner: str) -> None:
        self.launcher = launcher
        self.whatsapp = launcher.whatsapp
        self.profile = profile
        self.owner = owner
        self.phase: Phase = "new"
        self.status_now = PageStatus("", "", False, None)
        self.qr: str | None = None
        self.calls: list[str] = []  # names of the calls that reached the page
        self.typing: set[str] = set()
        self.closes = 0
        self.graceful = True  # what `close()` answers
        self.holding = False  # calls wait until `release()`, a crash or a close
        self.hung = False  # calls end in PageTimeout at once, as after their deadline
        self._closed: bool | None = None
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._notify: Notify | None = None
        self._gate: asyncio.Event | None = None

    # --- controls of a test -------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a real one would have a process now."""
        return self.phase in ("starting", "up") or (self.phase == "gone" and self._pid is not None)

    @property
    def online(self) -> bool:
        """Whether messages reach this page right now."""
        return self.phase == "up" and self.status_now.socket == "CONNECTED"

    @property
    def number(self) -> str | None:
        """The number this profile is linked to."""
        device = self.whatsapp.device_of(self.profile)
        return None if device is None else self.whatsapp.links.get(device)

    def scan(self, number: str, push_name: str | None = "Sim") -> None:
        """Scan the QR code with the phone of this number (or type its pairing code)."""
        self.on_loop(lambda: self._link(number, push_name))

    def finish_sync(self) -> None:
        """End a synchronisation that `FakeWhatsApp.slow_sync` holds open."""
        self.on_loop(self._ready)

    def new_qr(self) -> None:
        """Let the QR code expire: the page shows the next one."""
        self.on_loop(self._show_qr)

    def idle_qr(self) -> None:
        """Use the QR codes up: the page waits for a click."""

        def idle() -> None:
            self.qr = None
            self._become("UNPAIRED_IDLE", "QR")
            self.see(QrIdle())

        self.on_loop(idle)

    def become(self, socket: str, mode: str) -> None:
        """Put the page into any of WhatsApp's states (TIMEOUT, DEPRECATED_VERSION, …)."""
        self.on_loop(lambda: self._become(socket, mode))

    def drop(self) -> None:
        """Cut the page's network."""
        self.become("TIMEOUT", "MAIN")

    def reconnect(self) -> None:
        """Give the network back; missed messages are in the chats, but nothing tells them."""
        self.on_loop(self._ready)

    def conflict(self) -> None:
        """Open the account in another window."""
        self.become("CONFLICT", "CONFLICT")

    def crash(self, detail: str = "scripted") -> None:
        """Crash the page: the process is still there."""
        self.on_loop(lambda: self._end(Gone("page_crashed", detail)))

    def die(self, detail: str = "killed by signal 9") -> None:
        """Kill the browser process."""

        def die() -> None:
            self._pid = None
            self._end(Gone("browser_exited", detail))

        self.on_loop(die)

    def hang(self) -> None:
        """Let every call end in PageTimeout, at once instead of after its deadline."""
        self.hung = True

    def hold(self) -> None:
        """Let calls wait until `release()`; a crash or a close ends them with PageGone."""
        self.holding = True

    def release(self) -> None:
        """Let held calls through, and end a hang."""
        self.holding = self.hung = False
        self.on_loop(self.open_gate)

    def on_loop(self, act: Callable[[], None]) -> None:
        """Run on the loop of this browser and wait for it; at once where we are on it."""
        if self._loop is None or self._loop.is_closed():
            act()
            return
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            act()
            return

        async def run() -> None:
            act()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=10)

    # --- Browser ------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """A number that looks like a process id while the browser runs."""
        return self._pid

    async def start(self, notify: Notify) -> None:
        """Start as scripted; a linked profile is ready without a scan."""
        if self.phase != "new":
            raise LaunchFailed("a browser starts once")
        self._loop = asyncio.get_running_loop()
        self.phase, self._notify = "starting", notify
        self.launcher.starts += 1
        try:
            await self._launch()
        except BaseException:
            self._leave()
            raise
        self.whatsapp.pages.append(self)
        self._loop.call_soon(self._first_state)

    async def _launch(self) -> None:
        if self.launcher.failures:
            raise self.launcher.failures.popleft()
        if self.launcher.always is not None:
            raise self.launcher.always
        if any(b.profile == self.profile and b is not self for b in self.launcher.running):
            raise ProfileBusy(str(self.profile))
        while self.launcher.holding and self.phase == "starting":
            await self._wait()
        if self.phase != "starting":
            raise LaunchFailed("closed while it was being started")
        FakeBrowser._last_pid += 1
        self._pid = FakeBrowser._last_pid
        self.phase = "up"

    async def status(self) -> PageStatus:
        """Ask the page."""
        await self._call("status")
        return self.status_now

    async def send_text(self, to: str, body: str, wa_id: str) -> MessageSeen:
        """Send with the outcome the test put into `FakeWhatsApp.sends`."""
        return await self.send(to, Parcel(body), wa_id)

    async def send(self, to: str, parcel: Parcel, wa_id: str) -> MessageSeen:
        """Send with the outcome the test put into `FakeWhatsApp.sends`."""
        await self._call("send_text" if parcel.content is None else "send")
        account = self._account()
        if isinstance(parcel.content, Reaction | Deletion):
            return self._change(account, parcel.content, wa_id)
        if parcel.quoted is not None:
            self._target(account, parcel.quoted)
        known = account.chats[to].messages.get(wa_id) if to in account.chats else None
        if known is not None and known.ack >= 1:
            return known
        if self.status_now.mode != "MAIN":
            raise PageRefused("not_ready")
        if to in self.whatsapp.unknown:
            raise NotSent("not_on_whatsapp")
        if to.endswith("@g.us") and to not in account.chats:
            raise NotSent("chat_not_found")
        outcome = self.whatsapp.sends.popleft() if self.whatsapp.sends else "accepted"
        if not self.online:
            outcome = "pending"
        match outcome:
            case "accepted" | "accepted_silently" | "accepted_crash":
                if known is None:
                    self.whatsapp.write(account.number, to, parcel, wa_id)
                self.whatsapp.ack(account.number, wa_id, 1)
            case "pending":
                self.whatsapp.write(account.number, to, parcel, wa_id)
            case "lost" | "lost_crash":
                pass
            case "untaken":
                raise PageRefused("TypeError", "scripted")
            case reason:
                raise NotSent(reason)
        if outcome.endswith("_crash"):
            self._end(Gone("page_crashed", "scripted, in a send"))
            raise PageGone("the page crashed")
        if outcome != "accepted":
            raise PageTimeout("send_text")
        return account.chats[to].messages[wa_id]

    def _change(self, account: FakeAccount, change: Reaction | Deletion, wa_id: str) -> MessageSeen:
        message = self._target(account, change.target)
        outcome = self.whatsapp.sends.popleft() if self.whatsapp.sends else "accepted"
        if outcome == "lost":
            raise PageTimeout("send")
        account.handed_over[wa_id] += 1
        if isinstance(change, Reaction):
            account.reactions[message.wa_id] = change.emoji
        elif not message.from_me and not message.chat.endswith("@g.us"):
            raise NotSent("cannot_delete")
        else:
            message = replace(message, kind="revoked", body="", media=None)
            account.chat(message.chat).messages[message.wa_id] = message
        if outcome == "accepted_silently":
            raise PageTimeout("send")
        return replace(
            message, wa_id=wa_id, from_me=True, ack=max(message.ack, 1), at=self.whatsapp.now()
        )

    def _target(self, account: FakeAccount, message_id: str) -> MessageSeen:
        bare = message_id.split("_")[2] if "_" in message_id else message_id
        message = account.find(bare)
        if message is None:
            raise NotSent("message_not_found")
        return message

    async def fetch_media(self, message: str, largest: int) -> File:
        """What `FakeAccount.media` holds under the bare id."""
        await self._call("fetch_media")
        bare = message.split("_")[2] if "_" in message else message
        account = self._account()
        seen, found = account.find(bare), account.media.get(bare)
        if seen is None or seen.media is None or found is None:
            raise PageRefused("not_found")
        if len(found) > largest:
            raise PageRefused("too_large")
        return File(seen.media.mime, seen.media.name, found)

    async def find_message(self, to: str, wa_id: str) -> MessageSeen | None:
        """Look one of our own messages up."""
        await self._call("find_message")
        account = self._account()
        phones = [phone for phone, lid in self.whatsapp.lids.items() if lid == to]
        for address in (to, *phones):
            chat = account.chats.get(address)
            message = chat.messages.get(wa_id) if chat else None
            if message is not None and message.from_me:
                return message
        return None

    async def messages_since(self, since: datetime | None) -> list[MessageSeen]:
        """Everything at or after `since`, or what is unread."""
        await self._call("messages_since")
        found: list[MessageSeen] = []
        for chat in self._account().chats.values():
            if since is not None:
                found += [m for m in chat.messages.values() if m.at >= since]
            elif chat.unread:
                found += [m for m in chat.messages.values() if not m.from_me][-chat.unread :]
        return sorted(found, key=lambda m: m.at)

    async def chats(self) -> list[Chat]:
        """Every chat of the account, newest first."""
        await self._call("chats")
        chats = [
            Chat(c.id, c.name, c.unread, c.id.endswith("@g.us"), c.at)
            for c in self._account().chats.values()
        ]
        oldest = datetime.min.replace(tzinfo=UTC)
        return sorted(chats, key=lambda c: c.at or oldest, reverse=True)

    async def messages(self, chat: str, limit: int) -> list[MessageSeen]:
        """The last messages of a chat."""
        await self._call("messages")
        known = self._account().chats.get(chat)
        return sorted(known.messages.values(), key=lambda m: m.at)[-limit:] if known else []

    async def check_number(self, number: str) -> str | None:
        """Every number is on WhatsApp but the ones in `FakeWhatsApp.unknown`."""
        await self._call("check_number")
        chat = number if "@" in number else f"{number}@c.us"
        return None if chat in self.whatsapp.unknown else chat

    async def groups(self) -> list[Group]:
        """Every group of the account, by id."""
        await self._call("groups")
        return [
            Group(c.id, c.name, c.members)
            for c in sorted(self._account().chats.values(), key=lambda c: c.id)
            if c.id.endswith("@g.us")
        ]

    async def addresses(self, contact: str) -> Addresses:
        """Every account has both, by the rule of the simulator."""
        await self._call("addresses")
        user, _, server = contact.partition("@")
        number = user.removeprefix("9") if server == "lid" else user
        return Addresses(f"{number}@c.us", f"9{number}@lid")

    async def mark_seen(self, chat: str) -> None:
        """Nothing is unread there afterwards."""
        await self._call("mark_seen")
        if chat in self._account().chats:
            self._account().chats[chat].unread = 0

    async def set_typing(self, chat: str, typing: bool) -> None:
        """Remember it in `typing`."""
        await self._call("set_typing")
        (self.typing.add if typing else self.typing.discard)(chat)

    async def refresh_qr(self) -> None:
        """Show the next code."""
        await self._call("refresh_qr")
        self._show_qr()

    async def pairing_code(self, phone: str) -> str:
        """Answer a code of WhatsApp's shape."""
        await self._call("pairing_code")
        return "WZYX1234"

    async def copy_profile(self, into: Path) -> None:
        """Copy the folder; nothing writes to it but this thread."""
        await self._call("copy_profile")
        archive.copy(self.profile, into)

    async def take_over(self) -> None:
        """Be the active page again."""
        await self._call("take_over")
        self._ready()

    async def log_out(self) -> None:
        """Unlink: the page says so, and shows a QR code."""
        await self._call("log_out")
        self._account()
        device = self.whatsapp.device_of(self.profile)
        if device is not None:
            self.whatsapp.links.pop(device, None)
        self.lose_link("user_initiated")

    async def screenshot(self) -> bytes:
        """A few bytes that begin as a PNG does."""
        await self._call("screenshot")
        return PNG

    async def close(self) -> bool:
        """End it, in any state."""
        self.closes += 1
        if self._closed is None:
            self._closed = self.phase == "new" or (self.graceful and self.phase == "up")
        self._leave()
        return self._closed

    # --- the page -----------------------------------------------------------------

    def see(self, sighting: Sighting) -> None:
        """Tell a sighting, unless the page is over."""
        if self.phase == "up" and self._notify is not None:
            self._notify(sighting)

    def open_gate(self) -> None:
        """Wake everything that waits at the gate; it looks again at why it waited."""
        if self._gate is not None:
            self._gate.set()
            self._gate = None

    def lose_link(self, reason: str) -> None:
        """What a page shows when its device was removed."""
        self.see(LoggedOut(reason))
        self._show_qr()

    async def _call(self, name: str) -> None:
        # A real call needs at least one turn of the loop; so does this one.
        await asyncio.sleep(0)
        while self.holding and self.phase == "up":
            await self._wait()
        if self.phase != "up":
            raise PageGone(name)
        if self.hung:
            raise PageTimeout(name)
        self.calls.append(name)

    async def _wait(self) -> None:
        self._gate = self._gate or asyncio.Event()
        await self._gate.wait()

    def _account(self) -> FakeAccount:
        if self.number is None:
            raise PageRefused("not_linked")
        return self.whatsapp.account(self.number)

    def _first_state(self) -> None:
        if self.phase != "up":
            return
        if self.whatsapp.without_wa_js:
            self._paint_qr()
        elif self.whatsapp.rejects_version:
            self._become("DEPRECATED_VERSION", "DEPRECATED_VERSION")
        elif self.number is None:
            self._paint_qr()
            self._tell_qr()
        else:
            self._synchronise()

    def _show_qr(self) -> None:
        self.qr = _new_code()
        self._tell_qr()

    def _paint_qr(self) -> None:
        # The page ends its codes with one part more than wa-js does.
        self.qr = _new_code()
        self.see(QrShown(f"{self.qr},1", SHORTEST_TTL, painted=True))

    def _tell_qr(self) -> None:
        assert self.qr is not None
        self._become("UNPAIRED", "QR")
        self.see(QrShown(self.qr, self.whatsapp.qr_ttl))

    def _link(self, number: str, push_name: str | None) -> None:
        if self.qr is None:
            raise AssertionError("there is no code on the page to scan")
        self.whatsapp.account(number, push_name).push_name = push_name
        self.whatsapp.pair(self.profile, number)
        self.qr = None
        self._become("PAIRING", "QR")
        self._synchronise()

    def _synchronise(self) -> None:
        self._become("CONNECTED", "SYNCING")
        self.see(Loading(0, "SYNCING"))
        if not self.whatsapp.slow_sync:
            self._ready()

    def _ready(self) -> None:
        if self.status_now.mode == "SYNCING":
            self.see(Loading(100, "SYNCING"))
        self._become("CONNECTED", "MAIN")
        self._hand_over()

    def _hand_over(self) -> None:
        """Send what was kept unacknowledged, as WhatsApp Web does by itself."""
        if self.number is None:
            return
        account = self.whatsapp.account(self.number)
        for chat in account.chats.values():
            for message in list(chat.messages.values()):
                if message.from_me and message.ack == 0:
                    self.whatsapp.ack(account.number, message.wa_id, 1)

    def _become(self, socket: str, mode: str) -> None:
        number = self.number
        linked = number is not None and socket != "PAIRING"
        identity = self.whatsapp.account(number).identity if number and linked else None
        status = PageStatus(socket, mode, linked, identity)
        if status != self.status_now:
            self.status_now = status
            self.see(StateSeen(status))

    def _end(self, gone: Gone) -> None:
        if self.phase != "up":
            return
        self.see(gone)
        self.phase = "gone"
        if self in self.whatsapp.pages:
            self.whatsapp.pages.remove(self)
        self.open_gate()

    def _leave(self) -> None:
        self.phase, self._pid = "closed", None
        if self in self.whatsapp.pages:
            self.whatsapp.pages.remove(self)
        self.open_gate()


def _kind_of(parcel: Parcel) -> str:
    """WhatsApp's own word for what is sent."""
    match parcel.content:
        case Media(kind="voice"):
            return "ptt"
        case Media(kind=kind):
            return kind
        case Location():
            return "location"
        case Contact():
            return "vcard"
        case _:
            return "chat"


def new_id() -> str:
    """A bare message id as WhatsApp makes them."""
    return "3EB0" + secrets.token_hex(9).upper()


def key_of(from_me: bool, remote: str, wa_id: str, participant: str | None) -> str:
    """The full key of a message."""
    return "_".join(filter(None, [str(from_me).lower(), remote, wa_id, participant]))
