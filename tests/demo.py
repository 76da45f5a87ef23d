"""The demo: the whole service against a simulated WhatsApp, told as it happens.

Run by `make demo`. Starts the simulator and `actors.up` as children, links a
session with a simulated phone, sends, is answered, and shows what the log and
Redis hold of it. Stays up until Ctrl-C; `--once` ends after the story.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import io
import json
import logging
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import segno
import structlog
from pydantic import SecretStr
from rich.console import Console

from actors.machine import ports
from events import connection, subjects
from events.jetstream_log import JetStreamLog
from events.log import Stored
from events.settings import BadSettings, Settings, load
from projections.read import RedisReadModels
from tests.simulator.phone import Phone, PhoneError

USER, BOT = "demo", "bot"
SESSION = subjects.SessionId(USER, BOT)
PHONE = "4915112345678"
FRIEND = "4915187654321"

PR_SET_PDEATHSIG = 1
PROGRESS = re.compile(r"^(up |[a-z]+ +(up in|not up yet|died|still there))")


class Failed(Exception):
    """The story could not be told to its end; says at which point and why."""


class Child:
    """A process of the demo, with its output in a file and its last lines at hand."""

    def __init__(self, name: str, log: Path, console: Console) -> None:
        self.name, self._log, self._console = name, log, console
        self._last: deque[str] = deque(maxlen=12)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, *command: str, **environment: str) -> None:
        """Start it; it dies with us, whatever kills us."""
        parent, libc = os.getpid(), ctypes.CDLL(None)

        def die_with_us() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command),
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_us,
            limit=2**20,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._log.open("w") as log:
            async for raw in self._process.stdout:
                line = raw.decode(errors="replace").rstrip()
                self._last.append(line)
                print(line, file=log, flush=True)
                if PROGRESS.match(line):
                    self._console.print(f"  {line}", style="dim", markup=False)

    def check(self) -> None:
        """Raise Failed if it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise Failed(f"{self.name} ended by itself")

    @property
    def last_words(self) -> str:
        """The last lines it wrote."""
        return "\n".join(f"  | {line}" for line in self._last)

    async def stop(self) -> None:
        """Ask it to end and wait for it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 90)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=1)
            self._reading.cancel()


class Story:
    """What is shown, in order."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._home = settings.data_dir / "sandbox"
        self._seen: list[Stored] = []
        self._waited = 0
        self._simulator = Child("the simulator", self._home / "simulator.log", console)
        self._service = Child("the service", self._home / "up.log", console)
        self._began = time.monotonic()

    async def run(self, *, once: bool) -> None:
        """Tell it. Raises Failed."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            url = await self._start_simulator()
            note = await self._start_service(url)
            await self._tell(url, note)
            if not once:
                self._say("\n  It stays up until you press Ctrl-C.")
                while True:
                    self._simulator.check()
                    self._service.check()
                    await asyncio.sleep(0.5)
        except Failed as failure:
            raise Failed(f"{failure}\nThe service said last:\n{self._service.last_words}") from None
        finally:
            self._step("Stopping")
            await self._service.stop()
            await self._simulator.stop()

    async def _start_simulator(self) -> str:
        self._step("A simulated WhatsApp on this machine")
        ready = self._home / "simulator.url"
        ready.unlink(missing_ok=True)
        data = self._home / "simulator"
        await self._simulator.start(
            *("tests.simulator", "--port", "0", "--data", str(data), "--ready-file", str(ready))
        )
        async with self._patience(20, "the simulator does not come up"):
            while not ready.exists():
                self._simulator.check()
                await asyncio.sleep(0.05)
        url = ready.read_text().strip()
        self._say(f"{url} plays web.whatsapp.com, its servers and the phones")
        return url

    async def _start_service(self, url: str) -> dict[str, str]:
        self._step("The service: NATS, Redis, a node, projections, gateway")
        path = self._home / "up.json"
        # One that was killed leaves its note behind, and it would be taken for ours.
        path.unlink(missing_ok=True)
        port = {}
        if "PORT" not in os.environ and not ports.is_free(self._settings.port):
            self._say(f"port {self._settings.port} is taken on this machine: a free one it is")
            port = {"PORT": "0"}
        await self._service.start("actors.up", SANDBOX_URL=url, **port)
        async with self._patience(120, "the service does not come up"):
            while not path.exists():
                self._service.check()
                await asyncio.sleep(0.05)
        return json.loads(path.read_text())

    async def _tell(self, url: str, note: dict[str, str]) -> None:
        key = self._settings.api_key.get_secret_value() if self._settings.api_key else None
        key = key or Path(note["api_key_file"]).read_text().strip()
        settings = self._settings.model_copy(
            update={
                "nats_url": note["nats_url"],
                "nats_password": ops_password(note) or self._settings.nats_password,
                "redis_host": note["redis_host"],
                "redis_port": note["redis_port"],
                "redis_password": SecretStr(note["redis_password"])
                if note["redis_password"]
                else None,
            }
        )
        broker = await connection.connect(settings, "ops", name="demo", patience=5)
        log = JetStreamLog(broker.jetstream())
        following = asyncio.create_task(self._follow(log, await log.tail(subjects.ALL_EVENTS) + 1))
        try:
            async with (
                httpx.AsyncClient(
                    base_url=note["gateway_url"],
                    headers={"x-api-key": key},
                    timeout=40,
                    trust_env=False,
                ) as http,
                Phone(url) as phone,
            ):
                await self._link(http, phone)
                await self._send(http)
                await self._receive(phone)
                await self._show_status(http, settings)
                await asyncio.sleep(0.3)  # the last events are on their way to the screen
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await broker.close()
        self._close(url, note)

    async def _follow(self, log: JetStreamLog, start: int) -> None:
        """Show each event as it enters the log, read as operations may read it."""
        async for stored in log.follow([subjects.ALL_EVENTS], start):
            if stored is not None:
                self._seen.append(stored)
                self._console.print(
                    f"  [dim]#{stored.position:<5}[/] [cyan]{stored.subject}[/]", soft_wrap=True
                )

    async def _link(self, http: httpx.AsyncClient, phone: Phone) -> None:
        before = await http.get(f"/api/sessions/{SESSION.joined}/status")
        if before.status_code == 200 and before.json()["status"] != "not_found":
            word = before.json()["status"]
            self._step(f"Session {SESSION.joined} is there from last time ({word}); use it")
        else:
            self._step(f"Create session {SESSION.joined}")
        created = await http.post("/api/sessions/create", json={"userId": USER, "plubotId": BOT})
        self._expect(created, {200, 202}, "creating the session")
        shown: set[str] = set()
        async with self._patience(90, "the session is neither linked nor asks to be"):
            while True:
                self._service.check()
                status = (await http.get(f"/api/sessions/{SESSION.joined}/status")).json()
                if status.get("isReady"):
                    break
                if status.get("status") in {"auth_failed", "suspended"}:
                    raise Failed(f"the session is {status['status']}: {status}")
                if status.get("status") == "waiting_qr":
                    await self._scan(http, phone, shown)
                await asyncio.sleep(0.1)
        linked = "Linked and ready" if shown else "Restored without a scan, and ready"
        self._step(f"{linked}: {number(status.get('phoneNumber') or PHONE)}")

    async def _scan(self, http: httpx.AsyncClient, phone: Phone, shown: set[str]) -> None:
        answer = await http.get(f"/api/qr/{USER}/{BOT}")
        code = answer.json().get("qr") if answer.status_code == 200 else None
        if not code or code in shown:
            return
        shown.add(code)
        self._step("WhatsApp shows a code; a phone scans it")
        drawn = io.StringIO()
        segno.make(code, error="l").terminal(drawn, compact=True, border=2)
        self._console.out(drawn.getvalue(), highlight=False)
        # A code that was replaced this moment is refused; the next one comes.
        with contextlib.suppress(PhoneError):
            await phone.scan(code, number=PHONE, pushname="Demo")

    async def _send(self, http: httpx.AsyncClient) -> None:
        self._step("Send a message")
        body = {"sessionId": SESSION.joined, "to": f"+{FRIEND}", "message": "Hello from the demo"}
        began = time.monotonic()
        answer = await http.post("/api/messages/send", json=body)
        self._expect(answer, {200, 202}, "sending")
        took = (time.monotonic() - began) * 1000
        told = answer.json()
        shown = {name: told.get(name) for name in ("status", "messageId", "ack")}
        self._say(f"HTTP {answer.status_code} in {took:.0f} ms: {shown}")
        await self._until("sent", "the message is not sent")
        await self._until("delivered", "no receipt came back")

    async def _receive(self, phone: Phone) -> None:
        self._step("The friend answers")
        await phone.incoming(PHONE, FRIEND, "Hello, demo!")
        await self._until("received", "what the friend wrote did not arrive")

    async def _show_status(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._step("What Redis says, projected from those events")
        models = RedisReadModels.open(settings)
        try:
            async with self._patience(10, "the read model does not catch up with the log"):
                newest = max((s.position for s in self._seen if is_ours(s.subject)), default=0)
                while (view := await models.session(SESSION)) is None or view.position < newest:
                    await asyncio.sleep(0.05)
            totals = view.totals
            self._say(
                f"{view.session}: {view.word}, {number(view.phone or PHONE)}, on node {view.node}, "
                f"version {view.version}, position {view.position}"
            )
            history = await models.history(SESSION, 2)
        finally:
            await models.close()
        self._say(f"totals: {totals.model_dump()}")
        for message in history:
            self._say(f"message: {message.status}, at position {message.position}")
        health = await http.get("/health")
        self._say(f"health: {health.json().get('status')}")

    def _close(self, url: str, note: dict[str, str]) -> None:
        took = time.monotonic() - self._began
        gateway, file = note["gateway_url"], note["api_key_file"]
        key = "$API_KEY" if self._settings.api_key else f"$(cat '{file}')"
        head = f'-H "x-api-key: {key}"'
        self._step(f"That was the story, in {took:.0f} s. Now yours:")
        self._say(f"console   {gateway}/   (log in with the key below)")
        self._say(f"gateway   {gateway}   (reference: {gateway}/docs?api_key=…)")
        self._say(f"phone     {url}/_sim/phone   (its certificate is self-signed)")
        self._say(f"logs      {self._home}/up.log")
        for line in (
            f"curl {head} {gateway}/api/sessions",
            f"curl {head} {gateway}/api/sessions/{SESSION.joined}/status",
            f"curl {head} -H 'content-type: application/json' {gateway}/api/messages/send "
            f'-d \'{{"sessionId": "{SESSION.joined}", "to": "+{FRIEND}", "message": "Hi"}}\'',
            f"curl {head} '{gateway}/api/messages/{SESSION.joined}/history?limit=5'",
        ):
            self._console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    async def _until(self, kind: str, why: str) -> None:
        """Wait until an event of that type has entered the log since the last such wait."""
        suffix = f".{kind}"
        known = self._waited
        async with self._patience(20, why):
            while True:
                for index, stored in enumerate(self._seen[known:], known):
                    if stored.subject.endswith(suffix):
                        self._waited = index
                        return
                self._service.check()
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def _patience(self, seconds: float, why: str) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Failed(f"{why} within {seconds:.0f} s (see {self._home}/up.log)") from None

    def _expect(self, answer: httpx.Response, fine: set[int], what: str) -> None:
        if answer.status_code not in fine:
            raise Failed(f"{what}: {answer.status_code} {answer.text[:300]}")

    def _step(self, text: str) -> None:
        at = time.monotonic() - self._began
        self._console.print(f"\n[bold green]{at:5.1f} s[/]  [bold]{text}[/]", highlight=False)

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)


def ops_password(note: dict[str, object]) -> SecretStr | None:
    """Read the password with which one may only look."""
    held = note.get("nats_passwords")
    return SecretStr(str(held["ops"])) if isinstance(held, dict) and "ops" in held else None


def number(wid: str) -> str:
    """Write a phone number as people do."""
    return f"+{wid.removeprefix('+').split('@')[0]}"


def is_ours(subject: str) -> bool:
    """Tell whether an event belongs to the family of our session."""
    return subject.startswith(f"wa.evt.session.{SESSION.dotted}.")


async def told(settings: Settings, console: Console, *, once: bool) -> int:
    """Tell the story until it ends or somebody ends it; return an exit status."""
    story = asyncio.create_task(Story(settings, console).run(once=once))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, story.cancel)
    try:
        await story
    except asyncio.CancelledError:
        return 0 if not once else 130
    except (Failed, PhoneError, connection.NoBroker, httpx.HTTPError, OSError) as error:
        console.print("\n[bold red]The demo failed:[/]", end=" ")
        console.print(str(error) or type(error).__name__, markup=False, highlight=False)
        return 1
    return 0


def main() -> int:
    """Run the demo; return an exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the story")
    arguments = parser.parse_args()
    os.environ.pop("SANDBOX_URL", None)
    # The story is on the screen; the service's own log lines are in its file.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        settings = load()
    except BadSettings as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return asyncio.run(told(settings, Console(), once=arguments.once))


if __name__ == "__main__":
    sys.exit(main())
