"""Browsers that are Chromium, driven by pyppeteer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import TypeAdapter

from actors.browser import leveldb, media, orphans, sandbox
from actors.browser.cdp import ProtocolError, Wire
from actors.browser.chromium import Chromium
from actors.browser.executable import (
    command_line,
    find_executable,
    has_small_shared_memory,
    sandbox_works,
)
from actors.browser.options import BrowserOptions
from actors.browser.page import WhatsAppPage, page_script
from actors.browser.profile import Profile
from actors.browser.protocol import (
    Addresses,
    Chat,
    File,
    Gone,
    Group,
    LaunchFailed,
    LoggedOut,
    MessageSeen,
    Notify,
    PageGone,
    PageRefused,
    PageReloaded,
    PageStatus,
    PageTimeout,
    Parcel,
    Sighting,
    Unreachable,
)
from actors.browser.sightings import (
    ADDRESSES,
    CHATS,
    COUNT,
    GROUPS,
    MAYBE_MESSAGE,
    MAYBE_TEXT,
    MESSAGES,
    NOTHING,
    STATUS,
    TEXT,
    read_messages,
)
from actors.vault import archive

log = structlog.get_logger()

_T = TypeVar("_T")

PORTION = 100
"""Messages that come in one answer of the page, where there may be very many."""

SLOWEST_UPLOAD = 500_000
"""Bytes a second that an upload is given the time for."""


class PyppeteerLauncher:
    """Makes Chromium browsers on profiles below one folder."""

    def __init__(self, options: BrowserOptions, profiles: Path) -> None:
        self._options = options
        self._profiles = profiles

    def browser(self, profile: Path, owner: str) -> PyppeteerBrowser:
        """Prepare a browser for a profile folder. Starts nothing."""
        return PyppeteerBrowser(self._options, profile, owner)

    async def reap_orphans(self) -> int:
        """Kill browsers an earlier life of this node left behind; returns how many."""
        killed = await asyncio.to_thread(orphans.reap, self._profiles)
        if killed:
            log.warning("browser.orphans_reaped", browsers=killed)
        return killed


class PyppeteerBrowser:
    """One Chromium with one WhatsApp page. Starts once and closes once."""

    def __init__(self, options: BrowserOptions, profile: Path, owner: str) -> None:
        self._options = options
        self._deadlines = options.deadlines
        self._profile = Profile(profile)
        self._chromium: Chromium | None = None
        self._wire: Wire | None = None
        self._page: WhatsAppPage | None = None
        self._notify: Notify | None = None
        self._logged_out = asyncio.Event()
        self._started = False
        self._closing: asyncio.Future[bool] | None = None
        self._mending: asyncio.Future[list[str]] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._log = log.bind(session=owner)

    @property
    def pid(self) -> int | None:
        """The process id of the running browser."""
        return self._chromium.pid if self._chromium else None

    # --- life -----------------------------------------------------------------------

    async def start(self, notify: Notify) -> None:
        """Launch, open WhatsApp Web, inject, subscribe."""
        if self._started or self._closing is not None:
            raise LaunchFailed("a browser starts once")
        self._started, self._notify = True, notify
        try:
            await self._start()
        except (PageGone, PageTimeout, ProtocolError, OSError) as error:
            await self.close()
            raise LaunchFailed(f"the browser did not come up: {error}") from error
        except Unreachable as error:
            was_closed = self._closing is not None
            await self.close()
            if was_closed:
                # A navigation that a close cuts off says nothing of WhatsApp.
                raise LaunchFailed("closed while it was being started") from error
            raise
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        script = page_script(self._options.wa_js, self._deadlines.inject)
        command = await self._command()
        self._go_on()
        self._profile.take()
        await self._mend()
        # From here to the process there is no turn of the loop, so a close comes
        # before all of it or finds something to end.
        self._go_on()
        self._chromium = Chromium(self._profile)
        endpoint = await self._chromium.start(command, self._deadlines.launch)
        target = await self._page_target(endpoint)
        root, _, _ = endpoint.partition("/devtools/")
        # The page's own connection, not a session inside the browser's: one JSON
        # instead of one in another, and Browser.close works here as well.
        self._wire = wire = await Wire.open(f"{root}/devtools/page/{target}", self._deadlines.call)
        wire.on("Inspector.targetCrashed", lambda _: self._gone("page_crashed", "the page crashed"))
        self._watch = asyncio.create_task(self._watch_for_the_end(self._chromium, wire))
        page = WhatsAppPage(wire, target, self._deadlines, self._tell)
        await page.prepare(script)
        await page.open()
        self._page = page
        self._log.info("browser.started", pid=self.pid)

    async def _command(self) -> list[str]:
        executable = find_executable(self._options.executable)
        network: tuple[str, ...] = ()
        if self._options.sandbox_url:
            network = await sandbox.network_flags(
                self._options.sandbox_url, self._deadlines.navigation
            )
        return command_line(
            executable,
            self._profile.path,
            self._options,
            sandboxed=await asyncio.to_thread(sandbox_works, executable),
            small_shared_memory=has_small_shared_memory(),
            network=network,
        )

    def _go_on(self) -> None:
        if self._closing is not None:
            raise LaunchFailed("closed while it was being started")

    async def _mend(self) -> None:
        mending = asyncio.to_thread(leveldb.mend, self._profile.path)
        self._mending = asyncio.ensure_future(mending)
        # No thread can be called back: a close waits for it before it gives the profile away.
        cut = await asyncio.shield(self._mending)
        if cut:
            self._log.info("browser.logs_mended", files=cut)

    async def _page_target(self, endpoint: str) -> str:
        wire = await Wire.open(endpoint, self._deadlines.call)
        try:
            answer = await wire.call("Target.getTargets", {}, self._deadlines.call)
        finally:
            await wire.close()
        for target in answer["targetInfos"]:
            if target["type"] == "page":
                return str(target["targetId"])
        raise LaunchFailed("the browser has no page")

    async def _watch_for_the_end(self, chromium: Chromium, wire: Wire) -> None:
        await asyncio.wait({chromium.exited, wire.lost}, return_when=asyncio.FIRST_COMPLETED)
        # A process that dies closes its sockets first, and its exit says more.
        if await chromium.wait(timeout=1):
            self._gone("browser_exited", f"the browser {chromium.exited.result()}")
        else:
            self._gone("connection_lost", wire.lost.result())

    def _tell(self, sighting: Sighting) -> None:
        if isinstance(sighting, LoggedOut):
            self._logged_out.set()
        if self._notify is not None and self._closing is None:
            self._notify(sighting)

    def _gone(self, reason: str, detail: str) -> None:
        """Tell the end, once; every pending call ends with it."""
        notify, self._notify = self._notify, None
        if self._wire is not None:
            self._wire.lose(detail)
        if notify is None or self._closing is not None or self._page is None:
            return
        self._log.warning("browser.gone", reason=reason)
        notify(Gone(reason, detail))

    async def close(self) -> bool:
        """Close gracefully, then kill the process group, then reap."""
        # One closing for all who ask, and nobody's cancellation leaves it half done.
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        return await asyncio.shield(self._closing)

    async def _close(self) -> bool:
        chromium = self._chromium
        graceful = chromium is None or await self._end(chromium)
        if self._wire is not None:
            await self._wire.close()
        if self._watch is not None:
            self._watch.cancel()
        if self._mending is not None:
            await asyncio.wait({self._mending})
        # A process that even SIGKILL does not end keeps its profile to itself.
        if chromium is None or chromium.exited.done():
            self._profile.release()
        if chromium is not None:
            self._log.info("browser.closed", graceful=graceful)
        return graceful

    async def _end(self, chromium: Chromium) -> bool:
        if chromium.exited.done():
            return False
        if self._wire is None or not self._wire.say("Browser.close"):
            chromium.terminate()
        if await chromium.wait(self._deadlines.close):
            return True
        await chromium.kill()
        return False

    async def copy_profile(self, into: Path) -> None:
        """Hold every process still while the files are copied."""
        if self._chromium is None:
            raise PageGone("no browser runs")
        await self._chromium.still(lambda: archive.copy(self._profile.path, into))

    # --- calls ----------------------------------------------------------------------

    async def status(self) -> PageStatus:
        """Ask the page; one that has no WhatsApp in it says so with an empty socket."""
        try:
            return await self._ask(STATUS, "status")
        except PageRefused as refused:
            if refused.code == "not_ready":
                return PageStatus(socket="", mode="", authenticated=False, identity=None)
            raise

    async def send_text(self, to: str, body: str, wa_id: str) -> MessageSeen:
        """Send under the WhatsApp id we chose; returns when the server acknowledged."""
        return await self.send(to, Parcel(body), wa_id)

    async def send(self, to: str, parcel: Parcel, wa_id: str) -> MessageSeen:
        """Send anything under the WhatsApp id we chose."""
        page = self._running()
        told = {
            "body": parcel.body,
            "content": parcel.content and parcel.content.model_dump(mode="json"),
            "quoted": parcel.quoted,
            "attachment": await media.put(page, parcel.attachment) if parcel.attachment else None,
        }
        # What is large takes its time to reach WhatsApp.
        ack = self._deadlines.ack + len(parcel.attachment) / SLOWEST_UPLOAD
        # The page gives up first, so that it drops its listener.
        timeout = ack + self._deadlines.call
        sent = await self._ask(MAYBE_MESSAGE, "send", to, told, wa_id, ack * 1000, timeout=timeout)
        if sent is None:
            raise PageTimeout(f"the server did not acknowledge the message within {ack:g} s")
        return sent

    async def fetch_media(self, message: str, largest: int) -> File:
        """Return the file of a message."""
        return await media.fetch(self._running(), message, largest, self._deadlines.media)

    async def find_message(self, to: str, wa_id: str) -> MessageSeen | None:
        """Look up a message of ours by its bare id under every address of the chat."""
        return await self._ask(MAYBE_MESSAGE, "find", to, wa_id)

    async def messages_since(self, since: datetime | None) -> list[MessageSeen]:
        """Every message the page holds with `at >= since`, all chats, oldest first."""
        at = None if since is None else since.timestamp()
        count = await self._ask(COUNT, "since", at, timeout=self._deadlines.history)
        found: list[MessageSeen] = []
        for start in range(0, count, PORTION):
            end = min(start + PORTION, count)
            told = await self._ask(MESSAGES, "portion", start, end, timeout=self._deadlines.history)
            if len(told) < end - start:
                raise PageReloaded("the page was loaded anew while its messages were read")
            found += self._readable(told)
        return found

    async def chats(self) -> list[Chat]:
        """List chats, newest first."""
        return await self._ask(CHATS, "chats")

    async def messages(self, chat: str, limit: int) -> list[MessageSeen]:
        """Read the last messages of a chat, oldest first."""
        told = await self._ask(MESSAGES, "messages", chat, limit, timeout=self._deadlines.history)
        return self._readable(told)

    async def check_number(self, number: str) -> str | None:
        """Return the WhatsApp id behind a chat id or number, or None where there is none."""
        chat = number if "@" in number else f"{number}@c.us"
        return await self._ask(MAYBE_TEXT, "checkNumber", chat)

    async def groups(self) -> list[Group]:
        """List the groups this account is a member of, by id."""
        return await self._ask(GROUPS, "groups")

    async def addresses(self, contact: str) -> Addresses:
        """Return both addresses of a contact, given either."""
        return await self._ask(ADDRESSES, "addresses", contact)

    async def mark_seen(self, chat: str) -> None:
        """Mark a chat as read."""
        await self._ask(NOTHING, "markSeen", chat)

    async def set_typing(self, chat: str, typing: bool) -> None:
        """Show or stop showing "typing…" in a chat."""
        await self._ask(NOTHING, "setTyping", chat, typing)

    async def refresh_qr(self) -> None:
        """Ask WhatsApp for a new QR code; it comes as a `QrShown`."""
        await self._ask(NOTHING, "refreshQr")

    async def pairing_code(self, phone: str) -> str:
        """Ask for the code a person types into the phone with this number."""
        return await self._ask(TEXT, "pairingCode", phone)

    async def take_over(self) -> None:
        """Make this page the active one after a CONFLICT."""
        await self._ask(NOTHING, "takeOver")

    async def log_out(self) -> None:
        """Unlink this device; returns when the page confirmed it."""
        self._logged_out.clear()
        deadline = self._deadlines.log_out
        try:
            async with asyncio.timeout(deadline):
                # The page reloads after it, which may cut its answer off.
                with suppress(PageReloaded):
                    await self._ask(NOTHING, "logOut", timeout=deadline)
                await self._logged_out.wait()
        except TimeoutError as error:
            raise PageTimeout(f"no confirmation of the logout within {deadline:g} s") from error

    async def screenshot(self) -> bytes:
        """Return a PNG of the page as it is."""
        return await self._running().screenshot()

    def _readable(self, told: list[Any]) -> list[MessageSeen]:
        found, unreadable = read_messages(told)
        if unreadable:
            self._log.error("browser.messages_unreadable", count=unreadable)
        return found

    async def _ask(
        self, answer: TypeAdapter[_T], call: str, *args: object, timeout: float | None = None
    ) -> _T:
        return await self._running().ask(answer, call, *args, timeout=timeout)

    def _running(self) -> WhatsAppPage:
        if self._page is None:
            raise PageGone("the browser was not started")
        return self._page
