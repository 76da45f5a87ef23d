"""Two worlds for the contract of a browser: all in memory, and Chromium on the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from actors.browser.launcher import PyppeteerBrowser, PyppeteerLauncher
from actors.browser.options import BrowserOptions, Deadlines
from actors.browser.protocol import (
    Browser,
    Launcher,
    MediaSeen,
    PageTimeout,
    QrShown,
    Sighting,
    StateSeen,
)
from tests.fakes.browser import FakeBrowser, FakeLauncher, FakeWhatsApp
from tests.simulator.phone import Phone

ME, ALICE, BOB = "15550001111", "15557654321", "15558889999"
T = TypeVar("T", bound=Sighting)


class Sightings:
    """Everything a page told, and a way to wait for more."""

    def __init__(self) -> None:
        self.all: list[Sighting] = []
        self._more = asyncio.Event()

    def __call__(self, sighting: Sighting) -> None:
        """Be the `notify` of a browser."""
        self.all.append(sighting)
        self._more.set()

    def of(self, kind: type[T]) -> list[T]:
        """All of one kind, in order."""
        return [sighting for sighting in self.all if isinstance(sighting, kind)]

    def mark(self) -> int:
        """A place in the order: what comes after it is new."""
        return len(self.all)

    async def next(
        self, kind: type[T], like: Callable[[T], bool] = lambda _: True, *, after: int = 0
    ) -> T:
        """Wait for a sighting of this kind, not looking before a mark."""
        try:
            async with asyncio.timeout(60):
                while True:
                    for sighting in self.all[after:]:
                        if isinstance(sighting, kind) and like(sighting):
                            return sighting
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            kinds = [type(sighting).__name__ for sighting in self.all]
            raise AssertionError(f"no {kind.__name__} among {kinds}") from None

    async def ready(self, *, after: int = 0) -> StateSeen:
        """Wait until the page is ready."""
        return await self.next(
            StateSeen, lambda s: s.status.mode == "MAIN" and s.status.authenticated, after=after
        )


@dataclass
class Page:
    """A browser that was started, and what it told."""

    browser: Browser
    seen: Sightings = field(default_factory=Sightings)


@dataclass(frozen=True)
class Held:
    """A message as WhatsApp has it."""

    kind: str
    body: str
    content: bytes | None
    quoted: str | None


class World(ABC):
    """What a contract test does to WhatsApp, to phones and to browsers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.opened: list[Page] = []

    @property
    @abstractmethod
    def launcher(self) -> Launcher:
        """Makes the browsers of this world."""

    async def start(self, name: str = "ann") -> Page:
        """Start a browser on the profile of this name."""
        page = Page(self.launcher.browser(self.root / name, name))
        self.opened.append(page)
        await page.browser.start(page.seen)
        return page

    async def linked(self, name: str = "ann", number: str = ME) -> Page:
        """Start a browser and link it."""
        page = await self.start(name)
        await self.link(page, number)
        return page

    async def link(self, page: Page, number: str = ME) -> None:
        """Scan the code the page shows and wait until it is ready."""
        await page.seen.next(QrShown)
        mark = page.seen.mark()
        await self.scan(page, page.seen.of(QrShown)[-1].code, number)
        await page.seen.ready(after=mark)

    async def close(self) -> None:
        """End all browsers."""
        for page in self.opened:
            await page.browser.close()

    @abstractmethod
    async def scan(self, page: Page, code: str, number: str) -> None:
        """Scan a QR code with the phone of this number."""

    @abstractmethod
    async def enter(self, page: Page, code: str, number: str) -> None:
        """Type a pairing code into the phone of this number."""

    @abstractmethod
    async def incoming(
        self, sender: str, body: str, *, group: str = "", at: datetime | None = None
    ) -> str:
        """Let a number write to us; returns the bare id."""

    @abstractmethod
    async def incoming_media(
        self, sender: str, kind: str, content: bytes, mime: str, name: str, caption: str = ""
    ) -> str:
        """Let a number send us a file; returns the bare id."""

    @abstractmethod
    async def lose_media(self) -> None:
        """Let WhatsApp have no file any more."""

    @abstractmethod
    async def held(self, wa_id: str) -> Held:
        """What WhatsApp has of a message."""

    @abstractmethod
    async def reaction(self, wa_id: str) -> str:
        """Our reaction to a message, or nothing."""

    @abstractmethod
    async def ack(self, wa_id: str, ack: int) -> None:
        """Give a receipt for a message of ours."""

    @abstractmethod
    async def only_server_acks(self) -> None:
        """Let receivers neither get nor read anything by themselves."""

    @abstractmethod
    async def withhold_acks(self) -> None:
        """Let the server acknowledge nothing."""

    @abstractmethod
    async def release_acks(self, wa_id: str) -> None:
        """Let the server acknowledge what it has, this message among it."""

    @abstractmethod
    async def repeats(self) -> dict[str, int]:
        """Sends that the server got more than once."""

    @abstractmethod
    async def not_on_whatsapp(self, number: str) -> None:
        """Take a number off WhatsApp."""

    @abstractmethod
    async def lid_chat(self, number: str) -> str:
        """Let the chat with a number live under its LID; returns that."""

    @abstractmethod
    async def group(self, *members: str) -> str:
        """Make a group of us and others; returns its id."""

    @abstractmethod
    async def unlink(self) -> None:
        """Remove our devices on the phone."""

    @abstractmethod
    async def conflict(self, page: Page) -> None:
        """Open the account in another window."""

    @abstractmethod
    async def drop(self, page: Page) -> None:
        """Cut the page's connection to WhatsApp for a moment."""

    @abstractmethod
    async def use_up_codes(self, page: Page) -> None:
        """Let WhatsApp stop showing codes."""

    @abstractmethod
    async def crash(self, page: Page) -> None:
        """Crash the page."""

    @abstractmethod
    async def kill(self, page: Page) -> None:
        """Kill the browser's process."""

    @abstractmethod
    async def hang(self, page: Page) -> None:
        """Let the page answer no more."""


class FakeWorld(World):
    """Everything in memory."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.whatsapp = FakeWhatsApp()
        self._launcher = FakeLauncher(self.whatsapp)

    @property
    def launcher(self) -> FakeLauncher:
        return self._launcher

    async def scan(self, page: Page, code: str, number: str) -> None:
        assert code in {fake(page).qr, f"{fake(page).qr},1"}
        fake(page).scan(number)

    async def enter(self, page: Page, code: str, number: str) -> None:
        fake(page).scan(number)

    async def incoming(
        self, sender: str, body: str, *, group: str = "", at: datetime | None = None
    ) -> str:
        message = self.whatsapp.deliver(ME, f"{sender}@c.us", body, chat=group or None, at=at)
        return message.wa_id

    async def incoming_media(
        self, sender: str, kind: str, content: bytes, mime: str, name: str, caption: str = ""
    ) -> str:
        digest = hashlib.sha256(content).hexdigest()
        media = MediaSeen(mime, name or None, len(content), digest)
        message = self.whatsapp.deliver(
            ME, f"{sender}@c.us", caption, kind=kind, media=media, content=content
        )
        return message.wa_id

    async def lose_media(self) -> None:
        self.whatsapp.account(ME).media.clear()

    async def held(self, wa_id: str) -> Held:
        account = self.whatsapp.account(ME)
        message = account.find(wa_id)
        assert message
        return Held(message.kind, message.body, account.media.get(wa_id), message.quoted)

    async def reaction(self, wa_id: str) -> str:
        return self.whatsapp.account(ME).reactions.get(wa_id, "")

    async def ack(self, wa_id: str, ack: int) -> None:
        self.whatsapp.ack(ME, wa_id, ack)

    async def only_server_acks(self) -> None:
        pass

    async def withhold_acks(self) -> None:
        self.whatsapp.sends.append("pending")

    async def release_acks(self, wa_id: str) -> None:
        self.whatsapp.ack(ME, wa_id, 1)

    async def repeats(self) -> dict[str, int]:
        return self.whatsapp.account(ME).repeats

    async def not_on_whatsapp(self, number: str) -> None:
        self.whatsapp.unknown.add(f"{number}@c.us")

    async def lid_chat(self, number: str) -> str:
        self.whatsapp.lids[f"{number}@c.us"] = lid = f"9{number}@lid"
        return lid

    async def group(self, *members: str) -> str:
        chat = self.whatsapp.account(ME).chat("120363000000000001@g.us")
        chat.name, chat.members = "Friends", [f"{number}@c.us" for number in (ME, *members)]
        return chat.id

    async def unlink(self) -> None:
        self.whatsapp.unlink(ME)

    async def conflict(self, page: Page) -> None:
        fake(page).conflict()

    async def drop(self, page: Page) -> None:
        fake(page).drop()
        fake(page).reconnect()

    async def use_up_codes(self, page: Page) -> None:
        fake(page).idle_qr()

    async def crash(self, page: Page) -> None:
        fake(page).crash()

    async def kill(self, page: Page) -> None:
        fake(page).die()

    async def hang(self, page: Page) -> None:
        fake(page).hang()


class ChromiumWorld(World):
    """Chromium on the simulator."""

    def __init__(self, root: Path, phone: Phone, options: BrowserOptions) -> None:
        super().__init__(root)
        self.phone = phone
        self.url = phone.url
        self._launcher = PyppeteerLauncher(options, root)

    @property
    def launcher(self) -> PyppeteerLauncher:
        return self._launcher

    async def scan(self, page: Page, code: str, number: str) -> None:
        await self.phone.scan(code, number=number, pushname="Sim")

    async def enter(self, page: Page, code: str, number: str) -> None:
        await self.phone.enter(code, number=number, pushname="Sim")

    async def incoming(
        self, sender: str, body: str, *, group: str = "", at: datetime | None = None
    ) -> str:
        ts = int(at.timestamp()) if at else 0
        return await self.phone.incoming(ME, sender, body, group=group, ts=ts)

    async def incoming_media(
        self, sender: str, kind: str, content: bytes, mime: str, name: str, caption: str = ""
    ) -> str:
        return await self.phone.incoming(
            ME, sender, caption, type=kind, content=content, mime=mime, filename=name
        )

    async def lose_media(self) -> None:
        await self.phone.lose_media()

    async def held(self, wa_id: str) -> Held:
        [message] = await self.phone.messages(ME, id=wa_id)
        more = message.carried
        content = await self.phone.content(message) if "directPath" in more else None
        return Held(message.type, message.body, content, more.get("quotedStanzaID"))

    async def reaction(self, wa_id: str) -> str:
        [message] = await self.phone.messages(ME, id=wa_id)
        return str(message.carried.get("reaction", ""))

    async def ack(self, wa_id: str, ack: int) -> None:
        await self.phone.ack(ME, wa_id, ack)

    async def only_server_acks(self) -> None:
        await self.phone.config(ack_up_to=1)

    async def withhold_acks(self) -> None:
        await self.phone.config(ack_up_to=0)

    async def release_acks(self, wa_id: str) -> None:
        await self.phone.config(ack_up_to=1)
        await self.phone.release()

    async def repeats(self) -> dict[str, int]:
        return await self.phone.repeats_by_id(ME)

    async def not_on_whatsapp(self, number: str) -> None:
        await self.phone.contact(number, registered=False)

    async def lid_chat(self, number: str) -> str:
        return (await self.phone.contact(number, lid_chat=True)).lid

    async def group(self, *members: str) -> str:
        return await self.phone.group("Friends", [ME, *members])

    async def unlink(self) -> None:
        await self.phone.unlink(ME)

    async def conflict(self, page: Page) -> None:
        await self.phone.conflict(ME)

    async def drop(self, page: Page) -> None:
        await self.phone.drop(ME)

    async def use_up_codes(self, page: Page) -> None:
        # The codes of now are long-lived: the next one is the last, and short.
        await self.phone.config(qr_ttl=0.2, qr_max=1)
        await page.browser.refresh_qr()

    async def crash(self, page: Page) -> None:
        browser = page.browser
        assert isinstance(browser, PyppeteerBrowser)
        os.kill(renderer_of(browser), signal.SIGKILL)

    async def kill(self, page: Page) -> None:
        assert page.browser.pid is not None
        os.kill(page.browser.pid, signal.SIGKILL)

    async def hang(self, page: Page) -> None:
        await self.phone.hang(ME)
        # The word has to reach the page first, which a question may overtake.
        with contextlib.suppress(PageTimeout):
            while await page.browser.status():
                pass


def fake(page: Page) -> FakeBrowser:
    """The fake behind a page."""
    assert isinstance(page.browser, FakeBrowser)
    return page.browser


def renderer_of(browser: Browser) -> int:
    """Process id of the browser's renderer."""
    for process in group_of(browser):
        if b"--type=renderer" in (Path("/proc") / str(process) / "cmdline").read_bytes():
            return process
    raise AssertionError("the browser has no renderer")


def group_of(browser: Browser) -> list[int]:
    """Every process of a browser's process group."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(folder.name)) == browser.pid:
                    found.append(int(folder.name))
    return found


def options_for(url: str) -> BrowserOptions:
    """Browsers on a simulator, with deadlines a test can wait for."""
    deadlines = Deadlines(call=5, ack=1, close=5, navigation=10, history=5)
    return BrowserOptions(sandbox_url=url, deadlines=deadlines)


@contextlib.asynccontextmanager
async def chromium_world(root: Path, url: str) -> AsyncIterator[ChromiumWorld]:
    """Chromium on the simulator at this URL."""
    async with Phone(url) as phone:
        await phone.reset()
        world = ChromiumWorld(root, phone, options_for(url))
        try:
            yield world
        finally:
            await world.close()


@contextlib.asynccontextmanager
async def fake_world(root: Path) -> AsyncIterator[FakeWorld]:
    """Everything in memory."""
    world = FakeWorld(root)
    try:
        yield world
    finally:
        await world.close()


def now() -> datetime:
    """This second, as WhatsApp's times have no more."""
    return datetime.now(UTC).replace(microsecond=0)
