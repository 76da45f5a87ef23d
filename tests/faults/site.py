"""The service with every part in the test's own hand, against a simulated WhatsApp.

Not under `actors.up`: that one starts a dead part again within half a second, and
ever more slowly the more often it dies. Here the experiment says how long a part
stays away, and which program runs in its place. Recipes, passwords and `nats.conf`
are the product's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from nats.aio.client import Client
from pydantic import SecretStr

from actors.machine import servers
from actors.machine.part import Recipe
from actors.machine.ports import free_port
from actors.machine.secrets import Passwords
from events import codec, connection, subjects
from events.clock import utc_now
from events.session_events import SessionCommand, Takeover
from events.settings import Role, Settings
from events.subjects import SessionId
from projections.read import RedisReadModels
from tests.faults.evidence import Entry, Evidence, Ledger, Logged, OnPhone, Row
from tests.faults.log_reader import LogReader
from tests.faults.processes import Process, kill
from tests.simulator.phone import Phone, PhoneError
from tests.simulator.process import Simulator

KEY = "faults"
MOMENTS = 10
"""How often evidence is read anew because an event came in between."""

CROWD = 8
"""Callers of each of two routes that make a crowd."""

T = TypeVar("T")


class NotInTime(Exception):
    """Something that had to happen did not. Says what, and what the parts said last."""


PROGRAMS = {
    "node": "tests.faults.failing_node",
    "projections": "projections",
    "gateway": "gateway",
}
ROLES: dict[str, Role] = {"node": "node", "projections": "projector", "gateway": "gateway"}


class Site:
    """Five parts, a simulated WhatsApp, and sessions on them.

    More parts if it is asked for: three brokers that are one cluster, nodes, gateways.
    """

    def __init__(
        self,
        home: Path,
        variables: Mapping[str, str],
        programs: Mapping[str, str] = PROGRAMS,
        brokers: int = 1,
    ) -> None:
        self.home = home
        self.data = home / "data"
        self.simulator = Simulator(home / "simulator")
        self.order = home / "order"
        self.parts: dict[str, Process] = {}
        self.sessions: dict[SessionId, str] = {}
        self.http = httpx.AsyncClient()
        self._variables, self._programs = variables, {**PROGRAMS, **programs}
        self._passwords = Passwords()
        self._vault_key = b64encode(os.urandom(32)).decode()
        self._ports: list[int] = []
        self.brokers = [self._port() for _ in range(brokers)]
        """The port of each."""

        self.doors: list[httpx.AsyncClient] = []
        """A client of each gateway."""

        self._settings = Settings(
            _env_file=None,  # pyright: ignore[reportCallIssue]
            nats_url=",".join(f"nats://127.0.0.1:{port}" for port in self.brokers),
            redis_host="127.0.0.1",
            redis_port=self._port(),
            redis_password=SecretStr(self._passwords.redis),
            port=self._port(),
        )

    def _port(self) -> int:
        self._ports.append(free_port(self._ports))
        return self._ports[-1]

    # --- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; returns when the gateway answers."""
        self.data.mkdir(parents=True, exist_ok=True)
        await self.simulator.start()
        brokers = self._cluster() if len(self.brokers) > 1 else [self._broker()]
        redis = servers.redis(self._settings, self.home / "redis", self._passwords.redis)
        for recipe in (*brokers, redis):
            said = self.home / f"{recipe.name}.log"
            part = Process(recipe.name, recipe.command, recipe.environment, said, recipe.stdin)
            self.parts[recipe.name] = part
            part.start()
        await asyncio.gather(brokers[0].ready(), redis.ready())
        self.parts["node"] = self.node("a")
        self.parts["node"].start()
        declared = (subjects.EVENTS, subjects.COMMANDS, f"KV_{subjects.HOOKS}")
        await servers.until_streams(self.settings("node"), *declared)
        for name in ("projections", "gateway"):
            self.parts[name] = self._ours(name)
            self.parts[name].start()
        self.http = self._door(self._settings.port)
        await self.until(lambda: answers(self.http), 30, "the gateway answers")

    def _broker(self) -> Recipe:
        return servers.nats(
            self.settings("node", nats_port=self.brokers[0]), self.home / "nats", self._passwords
        )

    def _cluster(self) -> list[Recipe]:
        routes = [self._port() for _ in self.brokers]
        told = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
        found: list[Recipe] = []
        for number, (port, route) in enumerate(zip(self.brokers, routes, strict=True), 1):
            name = f"nats-{number}"
            # Each has a configuration of its own beside its store.
            place = self.home / name
            place.mkdir()
            recipe = servers.nats(
                self.settings("node", nats_port=port), place / "nats", self._passwords
            )
            joined = [
                *("--server_name", name, "--cluster_name", "faults"),
                *("--cluster", f"nats://127.0.0.1:{route}", "--routes", told),
            ]
            found.append(replace(recipe, name=name, command=[*recipe.command, *joined]))
        return found

    def _door(self, port: int) -> httpx.AsyncClient:
        door = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"x-api-key": KEY},
            timeout=20,
            trust_env=False,
            limits=httpx.Limits(max_connections=200),
        )
        self.doors.append(door)
        return door

    async def stop(self) -> None:
        """End everything, and leave nobody behind."""
        for door in self.doors:
            await door.aclose()
        for name in ("gateway", "node", "projections"):
            if name in self.parts:
                await self.parts[name].stop()
        for part in self.parts.values():
            part.kill()
        for browser in self.browsers(None):
            kill(browser)
        await self.simulator.close()

    def node(self, name: str) -> Process:
        """Prepare a node with a name and profiles of its own."""
        place = self.data / name
        place.mkdir(parents=True, exist_ok=True)
        return self._ours("node", NODE=name, DATA_DIR=str(place), said=f"node-{name}")

    async def begin(self, name: str) -> Process:
        """Start one more node, and wait until it takes part."""
        node = self.parts[name] = self.node(name)
        await self.again(node)
        return node

    async def again(self, node: Process) -> None:
        """Start a node, and wait until it takes part."""
        before = node.said.stat().st_size if node.said.exists() else 0
        node.start()

        async def said() -> bool:
            return b"pool.started" in node.said.read_bytes()[before:]

        await self.until(said, 30, node.name)

    async def another_gateway(self) -> None:
        """Start one more gateway, and wait until it answers."""
        port = self._port()
        self.parts["gateway-b"] = self._ours("gateway", said="gateway-b", PORT=str(port))
        self.parts["gateway-b"].start()
        door = self._door(port)
        await self.until(lambda: answers(door), 30, "the second gateway answers")

    def profiles(self, node: str) -> Path:
        """Where a node keeps its browser profiles."""
        return self.data / node / "sandbox" / "profiles"

    def _ours(self, name: str, said: str = "", **variables: str) -> Process:
        settings = self.settings(ROLES[name])
        assert settings.nats_password is not None
        environment = {
            "DATA_DIR": str(self.data),
            "SANDBOX_URL": self.simulator.url,
            "API_KEY": KEY,
            "PORT": str(settings.port),
            "PYTHONUNBUFFERED": "1",
            "NATS_URL": str(settings.nats_url),
            "REDIS_HOST": "127.0.0.1",
            "NATS_PASSWORD": settings.nats_password.get_secret_value(),
            "REDIS_PORT": str(settings.redis_port),
            "REDIS_PASSWORD": self._passwords.redis,
            "FAULTS_ORDER": str(self.order),
            "VAULT_KEY": self._vault_key,
            **self._variables,
            **variables,
        }
        command = [sys.executable, "-m", *self._programs[name].split()]
        return Process(name, command, environment, self.home / f"{said or name}.log")

    def settings(self, role: Role, **changes: int) -> Settings:
        """Where everything is, with the password of a role."""
        password = SecretStr(getattr(self._passwords, role))
        return self._settings.model_copy(update={"nats_password": password, **changes})

    async def until(
        self, ask: Callable[[], Awaitable[T]], seconds: float, what: str, pause: float = 0.05
    ) -> T:
        """Ask until the answer is true. Raises NotInTime."""
        give_up = time.monotonic() + seconds
        while not (found := await ask()):
            if time.monotonic() > give_up:
                said = "\n".join(f"--- {name}\n{p.tail()}" for name, p in self.parts.items())
                raise NotInTime(f"not within {seconds:.0f} s: {what}\n{said}")
            await asyncio.sleep(pause)
        return found

    # --- sessions -------------------------------------------------------------

    @property
    def phone(self) -> Phone:
        """The simulated phones."""
        return self.simulator.phone

    async def link(self, count: int) -> None:
        """Create so many sessions and scan their codes, four at a time."""
        four = asyncio.Semaphore(4)

        async def one(number: int) -> None:
            async with four:
                session = SessionId(f"u{number}", "bot")
                self.sessions[session] = f"1555{1_000_000 + number}"
                await self.scan(session)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def scan(self, session: SessionId, seconds: float = 60) -> None:
        """Have a session run, scan its code, and wait until it is ready."""
        body = {"userId": session.user, "plubotId": session.bot}

        async def scanned() -> bool:
            # A code may have been replaced by the time it is scanned.
            with contextlib.suppress(httpx.HTTPError, PhoneError):
                await self.http.post("/api/sessions/create", json=body)
                answer = await self.http.get(f"/api/qr/{session.user}/{session.bot}")
                if answer.is_success and answer.json().get("qr"):
                    code, number = answer.json()["qr"], self.sessions[session]
                    await self.phone.scan(code, number=number)
                return await self.word(session) in {"authenticated", "ready"}
            return False

        await self.until(scanned, seconds, f"{session} is scanned", pause=0.2)
        await self.until_words([session], {"ready"}, seconds)

    async def until_saved(self) -> None:
        """Wait until every session's profile is in the vault."""
        reader = LogReader(self)

        async def saved() -> bool:
            events = await reader.more()
            return {e.session for e in events if e.kind == "profile_saved"} >= {
                session.dotted for session in self.sessions
            }

        try:
            await self.until(saved, 60, "every profile is in the vault", 0.2)
        finally:
            await reader.close()

    async def word(self, session: SessionId) -> str:
        """Ask for a session's status word; empty if there is no answer."""
        return (await self.words()).get(session.joined, "")

    async def words(self) -> dict[str, str]:
        """Ask for all status words."""
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            answer = await self.http.get("/api/sessions")
            return {each["sessionId"]: each["status"] for each in answer.json()["sessions"]}
        return {}

    async def until_words(
        self, sessions: Sequence[SessionId], words: set[str], seconds: float
    ) -> None:
        """Wait until each of these sessions shows one of the words."""

        async def there() -> bool:
            shown = await self.words()
            return all(shown.get(session.joined) in words for session in sessions)

        await self.until(there, seconds, f"{[s.joined for s in sessions]} {words}", pause=0.1)

    async def take_over(self, session: SessionId) -> None:
        """Send the takeover command, as a service on NATS does."""
        client = await self.connect("service")
        try:
            await command(client, session, Takeover())
        finally:
            await client.close()

    async def crowd(self) -> None:
        """Ask much at once, so that the gateway's pool of connections is as large as it gets."""
        asked = ["/api/sessions", "/health?detailed=true"] * CROWD
        # By connections that are closed then: they are no part of what is measured.
        url, headers = self.http.base_url, {"x-api-key": KEY}
        async with httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, timeout=40
        ) as http:
            await asyncio.gather(*(http.get(path, timeout=30) for path in asked))

    # --- browsers -------------------------------------------------------------

    def browsers(self, session: SessionId | None) -> list[psutil.Process]:
        """Find the browser processes of a session, or of all."""
        root = str(self.data)
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                flag = next((w for w in line if w.startswith("--user-data-dir=")), "")
                whose = flag.removeprefix("--user-data-dir=")
                main = not any(word.startswith("--type=") for word in line)
                wanted = session is None or Path(whose).name == session.dotted
                if whose.startswith(root) and main and wanted:
                    found.append(process)
        return found

    # --- evidence -------------------------------------------------------------

    async def connect(self, role: Role) -> Client:
        """Connect to NATS in a role. Close it."""
        return await connection.connect(self.settings(role), role, name="faults", patience=30)

    async def settled(self, ledger: Ledger, patience: float, say: Callable[[str], None]) -> bool:
        """Wait until everything has ended and nothing moves.

        False after so many seconds in which not one thing more has ended: how long a
        backlog takes is the machine's, that it shrinks is ours.
        """
        give_up = time.monotonic() + patience
        reader = LogReader(self)
        before, least = -1, math.inf
        try:
            while time.monotonic() < give_up:
                events = await reader.more()
                open_ = _open(ledger, events)
                queued = await reader.queued()
                if len(open_) + queued < least:
                    least, give_up = len(open_) + queued, time.monotonic() + patience
                tail = events[-1].position if events else 0
                behind = await self._behind(tail)
                if not open_ and not queued and tail == before and not behind:
                    return True
                if tail == before:
                    say(
                        f"waiting: {len(open_)} open {sorted(open_)[:3]}, {queued} queued, {behind}"
                    )
                before = tail
                await asyncio.sleep(1)
        finally:
            await reader.close()
        return False

    async def _behind(self, tail: int) -> str:
        reads = RedisReadModels.open(self._settings)
        try:
            for health in await reads.health():
                if health.stopped:
                    return f"{health.projection} stopped: {health.stopped}"
                if health.position < tail:
                    return f"{health.projection} at {health.position} of {tail}"
        finally:
            await reads.close()
        return ""

    async def evidence(self, ledger: Ledger) -> Evidence:
        """Read all four sources, in a moment in which the log stands still.

        A session that was quiet for long enough says so, whether it is looked at or
        not. After some tries the sources are compared as they are.
        """
        reader = LogReader(self)
        tries = 0
        try:
            while True:
                log, tries = await reader.more(), tries + 1
                behind = await self._behind(reader.events[-1].position if reader.events else 0)
                evidence = await self._shown(ledger, log)
                stands_still = not behind and await reader.more() == log
                if stands_still or tries == MOMENTS:
                    return evidence
                await asyncio.sleep(1)
        finally:
            await reader.close()

    async def _shown(self, ledger: Ledger, log: list[Logged]) -> Evidence:
        phone: list[OnPhone] = []
        rows: list[Row] = []
        history: list[Entry] = []
        unread: list[str] = []
        reads = RedisReadModels.open(self._settings)
        for session, number in self.sessions.items():
            phone += [
                OnPhone(m.seq, session.dotted, m.id, m.chat, m.body, m.from_me, m.repeats)
                for m in await self.phone.messages(number)
            ]
            view = await reads.session(session)
            if view is not None:
                row = (view.state, view.version, view.totals.received, view.totals.sent)
                rows.append(Row(session.dotted, *row, view.totals.failed))
            try:
                history += await self._history(session)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                unread.append(f"{session.dotted}: its history is answered with {status}")
        await reads.close()
        return Evidence(
            ledger, tuple(phone), tuple(log), tuple(history), tuple(rows), unread=tuple(unread)
        )

    async def _history(self, session: SessionId) -> list[Entry]:
        found: list[Entry] = []
        before: int | None = None
        while True:
            query: dict[str, Any] = {"limit": 500} | ({"before": before} if before else {})
            answer = await self.http.get(f"/api/messages/{session.joined}/history", params=query)
            answer.raise_for_status()
            page = answer.json()
            found += [
                Entry(session.dotted, m["commandKey"], m["id"], m["status"], m["body"])
                for m in page["messages"]
            ]
            before = page["nextBefore"]
            if before is None:
                return found


def _open(ledger: Ledger, events: Sequence[Logged]) -> set[str]:
    """Name what has no end on the log yet."""
    ended = {e.data["message"] for e in events if e.kind in {"sent", "failed", "expired"}}
    ended |= {e.data["message"] for e in events if e.kind == "unresolved"}
    received = {(e.session, e.data["wa_id"]) for e in events if e.kind == "received"}
    sends = {s.key for s in ledger.sends.values() if s.answer != "refused"} - ended
    written = {w.id for w in ledger.written.values() if (w.session, w.id) not in received}
    return sends | written


@asynccontextmanager
async def a_site(
    home: Path,
    sessions: int,
    programs: Mapping[str, str] = PROGRAMS,
    *,
    brokers: int = 1,
    **variables: str,
) -> AsyncIterator[Site]:
    """A running site with linked sessions; nothing is left afterwards."""
    site = Site(home, variables, programs, brokers)
    try:
        await site.start()
        await site.link(sessions)
        yield site
    finally:
        await site.stop()


async def answers(door: httpx.AsyncClient) -> bool:
    """Tell whether a gateway is there."""
    with contextlib.suppress(httpx.HTTPError):
        return (await door.get("/health/live")).is_success
    return False


async def command(client: Client, session: SessionId, told: SessionCommand) -> None:
    """Publish a command as a service on NATS does."""
    sealed = codec.seal(told, subject=session.dotted, source="faults", at=utc_now())
    await client.jetstream().publish(
        subjects.session_command(session, told.kind), codec.encode(sealed)
    )


def told(path: Path, order: Mapping[str, object]) -> None:
    """Write an order for the failing node, all of it or nothing."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(order))
    draft.replace(path)
