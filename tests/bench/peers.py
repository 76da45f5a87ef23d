"""whatsapp-web.js beside ours: start, memory and sends, on one simulator and in one run.

Ours is asked over HTTP; its peer is a library and is called as one. Its default
configuration is the full Chromium as puppeteer starts it, if there is one here
(BENCH_CHROMIUM names it); `shell` is the same library on the binary that ours uses.
Memory is that of the browsers alone on both sides.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from actors.browser.executable import find_executable
from actors.browser.launcher import PyppeteerLauncher
from actors.browser.options import BrowserOptions
from actors.browser.protocol import StateSeen
from actors.sending import new_wa_id
from events.subjects import SessionId
from tests.bench.rows import Row, Say
from tests.faults.site import KEY, Site
from tests.faults.usage import tree, usage
from tests.load.client import Client
from tests.load.crowd import Crowd
from tests.load.diary import Diary
from tests.load.plan import Plan
from tests.simulator.phone import Phone
from tests.simulator.process import Simulator

SCRIPT = Path(__file__).with_name("whatsapp_web_js.mjs")
TEN = 10
SENDS = 20
PATIENCE = 120.0
FRIEND = "15557654321@c.us"

VARIABLES = {
    "SENDS_PER_MINUTE": "0",
    "SENDS_PER_SECOND": "0",
    "SESSIONS_PER_MINUTE": "0",
    "SESSIONS_PER_SECOND": "0",
    "LOG_LEVEL": "warning",
    # A snapshot of a profile in the middle of a measurement would be measured as well.
    "VAULT_MAX_MB": "0",
}


@dataclass
class Told:
    """What one way of doing it came to: seconds, MB and ms."""

    qr: list[float] = field(default_factory=list[float])
    alone: list[float] = field(default_factory=list[float])
    restored: list[float] = field(default_factory=list[float])
    reached: list[float] = field(default_factory=list[float])
    """Of the sessions that were started again, how many became ready."""

    memory: list[float] = field(default_factory=list[float])
    sends: list[float] = field(default_factory=list[float])
    http: list[float] = field(default_factory=list[float])


def full_chromium() -> str | None:
    """Find the browser that puppeteer takes by default, as far as this machine has it."""
    named = os.environ.get("BENCH_CHROMIUM")
    real = Path("/usr/lib/chromium/chromium")
    return named or (str(real) if real.exists() else shutil.which("google-chrome"))


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Ours and theirs in turn, so that a slow minute of the machine meets both."""
    ours, shell, default = Told(), Told(), Told()
    site = Site(home, VARIABLES, {"node": "actors"})
    full = full_chromium()
    try:
        await site.start()
        for number in range(runs):
            for count in (TEN, 1):
                where = home / f"run{number}-{count}"
                await _ours(site, number, count, ours)
                await _theirs(site.simulator, where / "shell", number, count, shell)
                if full is not None:
                    await _theirs(site.simulator, where / "full", number, count, default, full=full)
                await _library(site.simulator, where / "library", number, count, ours)
            say(f"peers: run {number + 1}: ours {_last(ours)}")
            say(f"peers: run {number + 1}: whatsapp-web.js on our binary {_last(shell)}")
            say(f"peers: run {number + 1}: whatsapp-web.js by default {_last(default)}")
    finally:
        await site.stop()
    if full is None:
        say("peers: no full Chromium here, so not by default: BENCH_CHROMIUM names one")
    by_default = _rows(ours, default, "by default", judged=True) if full is not None else []
    return [*by_default, *_rows(ours, shell, "our binary", judged=False)]


def _last(told: Told) -> dict[str, float]:
    return {name: round(values[-1], 3) for name, values in vars(told).items() if values}


def _rows(ours: Told, other: Told, beside: str, *, judged: bool) -> list[Row]:
    def row(what: str, unit: str, name: str, most: float, theirs: str = "") -> Row:
        held = getattr(other, theirs or name)
        return Row(what, unit, getattr(ours, name), held, beside, most=most if judged else None)

    return [
        row(f"{TEN} at once: memory of a session's browser", "MB", "memory", 0.40),
        row(f"{TEN} at once: create to QR", "s", "qr", 0.40),
        row("one alone: create to QR", "s", "alone", 0.80),
        row(f"{TEN} at once: start to ready, restored", "s", "restored", 0.50),
        Row(f"of {TEN} restored, ready: ours", "", ours.reached, least=TEN if judged else None),
        Row(f"of {TEN} restored, ready: whatsapp-web.js {beside}", "", other.reached),
        row("send to the server's ack, library", "ms", "sends", 1.1),
        row("send to the server's ack, ours over HTTP", "ms", "http", 2.0, "sends"),
    ]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def browsers_pss(root: psutil.Process) -> float:
    """PSS in MB of all browser processes below a process."""
    _, *below = tree(root)
    found: list[psutil.Process] = []
    for process in below:
        with suppress(psutil.Error):
            if "chrom" in process.name():
                found.append(process)
    return usage(found).pss_mb


# --- ours -----------------------------------------------------------------------


async def _ours(site: Site, run: int, count: int, told: Told) -> None:
    diary = Diary()
    shown: dict[str, float] = {}
    async with (
        Client(str(site.http.base_url), KEY, diary) as client,
        Phone(site.simulator.url, keep=True) as phone,
    ):
        crowd = Crowd(Plan(users=count), client, phone, diary)
        listening = asyncio.create_task(crowd.ears.listen(client.http, KEY))
        sessions = [SessionId(f"peer{run}x{count}x{n}", "bot") for n in range(count)]
        crowd.numbers = {s.joined: f"1555{run}{count:02d}{n:04d}" for n, s in enumerate(sessions)}
        began = time.perf_counter()
        crowd.ears.shown = lambda session: shown.setdefault(session, time.perf_counter() - began)
        await crowd.link(sessions, PATIENCE)
        (told.qr if count > 1 else told.alone).append(_median(list(shown.values())))
        if count > 1:
            await asyncio.sleep(3)
            node = psutil.Process(site.parts["node"].pid)
            told.memory.append(browsers_pss(node) / count)
            await _ours_again(crowd, sessions, told)
        else:
            told.http.append(await _over_http(crowd, sessions[0]))
        for session in sessions:
            path = f"/api/sessions/{session.joined}"
            await client.ask("DELETE", path, route="delete", session=session.joined)
        listening.cancel()
        await site.until(lambda: _gone(site), 30, "the browsers are gone")


async def _gone(site: Site) -> bool:
    return not await asyncio.to_thread(site.browsers, None)


async def _ours_again(crowd: Crowd, sessions: Sequence[SessionId], told: Told) -> None:
    """Stop all, start all at once: how long until each is ready."""

    async def steer(session: SessionId, verb: str) -> None:
        path = f"/api/sessions/{session.joined}/{verb}"
        await crowd.client.ask("POST", path, route=verb, session=session.joined)

    await asyncio.gather(*(steer(session, "disconnect") for session in sessions))
    for session in sessions:
        await crowd.ears.until(session.joined, {"stopped"}, PATIENCE)

    async def start(session: SessionId) -> float | None:
        began = time.perf_counter()
        await steer(session, "reconnect")
        ready = await crowd.ears.until(session.joined, {"ready"}, PATIENCE)
        return time.perf_counter() - began if ready else None

    took = await asyncio.gather(*(start(session) for session in sessions))
    ready = [seconds for seconds in took if seconds is not None]
    told.restored.append(_median(ready))
    told.reached.append(float(len(ready)))


async def _over_http(crowd: Crowd, session: SessionId) -> float:
    took: list[float] = []
    for _ in range(SENDS):
        request = await crowd.send(session)
        assert request.status == 200, request
        took.append(1_000 * request.took)
    return _median(took)


async def _library(server: Simulator, home: Path, run: int, count: int, told: Told) -> None:
    """Send through our browser layer, with no service around it."""
    if count > 1:
        return
    launcher = PyppeteerLauncher(BrowserOptions(sandbox_url=server.url), home)
    browser = launcher.browser(home / "profile", "bench")
    codes: asyncio.Queue[str] = asyncio.Queue()
    ready = asyncio.Event()

    def notify(sighting: Any) -> None:
        if code := getattr(sighting, "code", None):
            codes.put_nowait(code)
        if isinstance(sighting, StateSeen) and sighting.status.mode == "MAIN":
            ready.set()

    await browser.start(notify)
    try:
        await server.phone.scan(await codes.get(), number=f"1777000{run:04d}")
        await asyncio.wait_for(ready.wait(), PATIENCE)
        took: list[float] = []
        for number in range(SENDS):
            began = time.perf_counter()
            await browser.send_text(FRIEND, f"bench {number}", new_wa_id())
            took.append(1_000 * (time.perf_counter() - began))
        told.sends.append(_median(took))
    finally:
        await browser.close()


# --- theirs ---------------------------------------------------------------------


class Library:
    """Clients of whatsapp-web.js in one node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.at: dict[tuple[int, str], float] = {}
        self.codes: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            heard = json.loads(line)
            if "event" in heard:
                self.at.setdefault((heard["client"], heard["event"]), heard["at"])
                if heard["event"] == "qr":
                    self.codes.put_nowait((heard["client"], heard["value"]))
                self._changed.set()
            elif "error" in heard:
                self._answers[heard["answer"]].set_exception(RuntimeError(heard["error"]))
            else:
                self._answers[heard["answer"]].set_result(heard["value"])

    async def until(self, event: str, count: int, seconds: float = PATIENCE) -> list[float]:
        """Wait for an event of all clients; return seconds from their beginning, of who had it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while sum(name == event for _, name in self.at) < count:
                    self._changed.clear()
                    await self._changed.wait()
        return [
            (at - self.at[client, "begun"]) / 1_000
            for (client, name), at in self.at.items()
            if name == event
        ]

    async def call(self, client: int, name: str, *arguments: object) -> Any:
        """Call the library."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        assert self.process.stdin is not None
        told = {"id": number, "call": name, "client": client, "args": arguments}
        self.process.stdin.write(json.dumps(told).encode() + b"\n")
        return await asyncio.wait_for(self._answers[number], PATIENCE)

    async def close(self, count: int) -> None:
        """End all clients in order, then the process."""
        with suppress(TimeoutError, RuntimeError):
            await asyncio.gather(*(self.call(number, "destroy") for number in range(count)))
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        await self.process.wait()
        self._reading.cancel()


@asynccontextmanager
async def _clients(
    server: Simulator, folder: Path, count: int, full: str | None
) -> AsyncGenerator[Library]:
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    options = {
        "executable": full or str(find_executable(None)),
        "headless": True if full else "shell",
        "args": [*server.chromium_flags, *root],
        "folder": str(folder),
        "count": count,
    }
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", "node", str(SCRIPT), json.dumps(options)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    library = Library(process)
    try:
        yield library
    finally:
        await library.close(count)


async def _theirs(
    server: Simulator, folder: Path, run: int, count: int, told: Told, *, full: str | None = None
) -> None:
    prefix = f"1{8 if full else 9}{run}{count:02d}"
    async with _clients(server, folder, count, full) as library:
        for _ in range(count):
            client, code = await asyncio.wait_for(library.codes.get(), PATIENCE)
            await server.phone.scan(code, number=f"{prefix}{client:06d}")
        shown = await library.until("qr", count)
        (told.qr if count > 1 else told.alone).append(_median(shown))
        linked = await library.until("ready", count, 40)
        if count > 1:
            await asyncio.sleep(3)
            told.memory.append(browsers_pss(psutil.Process(library.process.pid)) / count)
        elif linked:
            texts = [f"bench {number}" for number in range(SENDS)]
            took = [float(await library.call(0, "send", FRIEND, text)) for text in texts]
            told.sends.append(_median(took))
    if count > 1:
        async with _clients(server, folder, count, full) as library:
            # Its own `ready` may be missed: what is not there by then never comes.
            ready = await library.until("ready", count, 40)
            told.restored.append(_median(ready))
            told.reached.append(float(len(ready)))
