"""A real Chromium for the simulator's own tests, with wa-js in its page.

The product's browser is `actors/browser`; this one is smaller and knows nothing of it, so
that the simulator can be tested alone.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pyppeteer import connect
from pyppeteer.browser import Browser
from pyppeteer.page import Page

from tests.simulator.certificate import HOST
from tests.simulator.phone import Phone
from tests.simulator.process import ROOT, Simulator

# What a script in the page returns is what that script says, nothing narrower.
Json = Any

CHROMIUM = Path("/usr/lib/chromium/chromium-headless-shell")
WA_JS = ROOT / "node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"

FLAGS = (
    "--headless",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--password-store=basic",
    "--disable-gpu",
    "--renderer-process-limit=1",
)

HELD_BACK = Path(__file__).with_name("held_back.js")


class Tab:
    """A page of WhatsApp Web with wa-js in it, and what its console complained of."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.complaints: list[str] = []
        page.on(
            "console",
            lambda message: message.type == "error" and self.complaints.append(message.text),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def url(self) -> str:
        return str(self._page.url)

    async def run(self, script: str, *arguments: object, timeout: float = 60) -> Json:
        """Evaluate a function in the page."""
        # Shielded: pyppeteer's connection dies if a pending call of it is cancelled.
        return await asyncio.wait_for(
            asyncio.shield(self._page.evaluate(script, *arguments)), timeout
        )

    async def until(self, script: str, *arguments: object, timeout: float = 60) -> Json:
        """Wait until a function in the page returns something true, over reloads."""
        last: Exception | None = None

        async def ask() -> Json:
            nonlocal last
            try:
                return await self.run(script, *arguments)
            except Exception as error:  # noqa: BLE001  a page that is loading answers with many kinds of errors
                last = error
                return None

        try:
            return await Phone.until(ask, script, timeout)
        except TimeoutError as error:
            raise TimeoutError(
                f"{error}; last error: {last!r}; console: {self.complaints}"
            ) from error

    async def events(self, name: str) -> list[Json]:
        """What wa-js emitted under that name since the page was loaded."""
        return [
            value for event, value in await self.run("() => window.__events || []") if event == name
        ]

    async def qr(self) -> str:
        """Wait for the QR code; returns its full text."""
        code = await self.until("() => window.WPP && WPP.isReady && WPP.conn.getAuthCode()")
        return str(code["fullCode"])

    async def ready(self) -> None:
        """Wait until a linked session can send."""
        await self.until(
            "() => window.WPP && WPP.isFullReady && WPP.conn.isAuthenticated()"
            " && WPP.whatsapp.Stream.mode === 'MAIN'"
        )

    async def send(self, to: str, body: str, *, wait: bool = True) -> Json:
        """Send a text with wa-js."""
        options = {"createChat": True, "waitForAck": wait}
        return await self.run(
            "(to, body, options) => WPP.chat.sendTextMessage(to, body, options)", to, body, options
        )

    async def load(self) -> None:
        """Go to WhatsApp Web."""
        await self._page.goto(f"https://{HOST}/", {"waitUntil": "domcontentloaded"})


class Chromium:
    """A browser process on one profile."""

    def __init__(self, simulator: Simulator, profile: Path) -> None:
        self._simulator = simulator
        self._profile = profile
        self._process: asyncio.subprocess.Process | None = None
        self._browser: Browser | None = None

    async def start(self) -> None:
        self._profile.mkdir(parents=True, exist_ok=True)
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--",
            str(CHROMIUM), *FLAGS, *sandbox, *self._simulator.chromium_flags,
            "--remote-debugging-port=0", f"--user-data-dir={self._profile}", "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._browser = await connect(
            browserWSEndpoint=await self._endpoint(), defaultViewport=None
        )
        self._drain = asyncio.create_task(self._read_errors())

    async def tab(self, *, held_back: bool = True) -> Tab:
        """The browser's page at WhatsApp Web, with wa-js held back until it can live."""
        assert self._browser is not None
        return await self._open((await self._browser.pages())[0], held_back=held_back)

    async def second_tab(self) -> Tab:
        """Another page of the same profile, as when a second tab is opened."""
        assert self._browser is not None
        return await self._open(await self._browser.newPage())

    @staticmethod
    async def _open(page: Page, *, held_back: bool = True) -> Tab:
        source = WA_JS.read_text()
        if held_back:
            source = HELD_BACK.read_text().replace("/* wa-js */", source)
        await page._client.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        tab = Tab(page)
        await tab.load()
        return tab

    async def close(self) -> None:
        """End as a person would: what the page keeps is written."""
        await self._end(graceful=True)

    async def kill(self) -> None:
        """End as a crash would."""
        await self._end(graceful=False)

    async def _end(self, *, graceful: bool) -> None:
        if self._process is None:
            return
        if graceful and self._browser is not None and self._process.returncode is None:
            try:
                await asyncio.wait_for(
                    asyncio.shield(self._browser._connection.send("Browser.close")), 2
                )
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                pass  # then it is killed, below
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._drain.cancel()
        if self._browser is not None:
            await self._browser.disconnect()
        self._process = None

    async def _endpoint(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            async for line in self._process.stderr:
                if found := re.match(rb"DevTools listening on (ws://\S+)", line):
                    return found[1].decode()
        raise RuntimeError("Chromium ended before it listened")

    async def _read_errors(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for _ in self._process.stderr:
            pass


@asynccontextmanager
async def chromium(simulator: Simulator, profile: Path) -> AsyncIterator[Chromium]:
    """A browser for the length of a block."""
    browser = Chromium(simulator, profile)
    await browser.start()
    try:
        yield browser
    finally:
        await browser.close()
