"""Leases in a bucket of JetStream: entries that run out, moved only by who has the last one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from pydantic import BaseModel, ConfigDict, ValidationError

from actors.leases import (
    ACCOUNT_LIVES,
    AccountLost,
    Freed,
    Lapsed,
    LeaseAway,
    Lost,
    News,
    NodeWord,
)
from events import subjects
from events.clock import Clock
from events.connection import AWAY
from events.envelope import new_id
from events.jetstream_log import GUARD_SEQUENCE, IN_PROCESS, WRONG_LAST_SEQUENCE
from events.subjects import BadToken, SessionId

log = structlog.get_logger()

STREAM = f"KV_{subjects.LEASES}"
PREFIX = f"$KV.{subjects.LEASES}."
SESSIONS = f"{PREFIX}session."
NODES = f"{PREFIX}node."

FREE = b""
"""The value of a lease that was given up; it runs out a second later."""

TRIES = 5
"""How often a take looks again after somebody moved the entry under its eyes."""

AT_ONCE = 20
"""Renewals under way at a time, as after an outage, when all are due."""

PATIENCE = 2.0
"""Seconds until the broker has not answered."""

Read = TypeVar("Read", bound=BaseModel)


class _Moved(Exception):
    """Somebody else wrote the entry since."""


class _Entry(BaseModel):
    """What a lease says: who holds it, in which life, for which session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    node: str
    life: str
    session: str


class _Word(BaseModel):
    """What a node says of itself, as it stands in the bucket."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    node: str
    sessions: int
    has_room: bool
    leaving: bool = False


@dataclass(slots=True)
class _Lease:
    """One that this process holds.

    `ttl` is in seconds. `renewed` and `tried` are readings of the stopwatch: before the
    last renewal that succeeded, and before the last one that was tried.
    """

    session: SessionId
    ttl: float
    revision: int
    renewed: float
    tried: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class NatsLeases:
    """See Leases. All coroutines belong to one loop."""

    def __init__(self, client: Client, clock: Clock, node: str, ttl: float) -> None:
        """`ttl`: seconds after which a lease runs out that was not renewed, at least 3."""
        self._client, self._js = client, client.jetstream(timeout=PATIENCE)
        self._clock, self._node, self._ttl = clock, node, ttl
        self._life = new_id()
        self._held: dict[str, _Lease] = {}
        self._words: dict[str, tuple[NodeWord, float]] = {}
        self._news: Callable[[News], None] = lambda _: None
        self._renewing: asyncio.Task[None] | None = None
        self._listens = False

    # --- the service ------------------------------------------------------------

    async def open(self, news: Callable[[News], None]) -> None:
        """See Leases.open."""
        self._news = news
        try:
            if not self._listens:
                await self._client.subscribe(f"{NODES}*", cb=self._heard)
                await self._client.subscribe(subjects.RELEASED, cb=self._freed)
                self._listens = True
            for subject in await self._subjects(f"{NODES}*"):
                found = await self._read(subject)
                if found is not None:
                    self._note(found[1])
        except AWAY as error:
            raise LeaseAway(str(error) or type(error).__name__) from error
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_for_ever())

    async def take(self, session: SessionId) -> bool:
        """See Leases.take."""
        return await self._take(_session_key(session), session, self._ttl, self._is_of_node)

    async def take_account(self, session: SessionId, phone: str) -> bool:
        """See Leases.take_account."""
        mine = str(session.dotted)
        key = _account_key(phone)
        await self._drop_accounts(session, but=key)
        ttl = self._ttl * ACCOUNT_LIVES
        return await self._take(key, session, ttl, lambda held: held.session == mine)

    async def release_account(self, session: SessionId) -> None:
        """See Leases.release_account."""
        await self._drop_accounts(session, but=None)

    async def release(self, session: SessionId, *, hand_over: bool) -> None:
        """See Leases.release."""
        await self._drop_accounts(session, but=None)
        await self._drop(_session_key(session))
        if hand_over:
            with contextlib.suppress(*AWAY):
                told = self._entry(session)
                await self._client.publish(subjects.RELEASED, told)
                await self._client.flush()

    async def held(self) -> frozenset[SessionId]:
        """See Leases.held."""
        try:
            found = await self._subjects(f"{SESSIONS}*.*")
        except AWAY as error:
            raise LeaseAway(str(error) or type(error).__name__) from error
        return frozenset(SessionId.parse(subject.removeprefix(SESSIONS)) for subject in found)

    async def say(self, word: NodeWord) -> None:
        """See Leases.say."""
        told = _Word(
            node=word.node,
            sessions=word.sessions,
            has_room=word.has_room,
            leaving=word.leaving,
        )
        headers = {"Nats-TTL": f"{round(self._ttl)}s"}
        with contextlib.suppress(*AWAY):
            await self._js.publish(
                NODES + word.node, told.model_dump_json().encode(), stream=STREAM, headers=headers
            )

    def others(self) -> tuple[NodeWord, ...]:
        """See Leases.others."""
        since = self._clock.monotonic() - self._ttl
        return tuple(word for word, heard in list(self._words.values()) if heard >= since)

    # --- hearing ----------------------------------------------------------------

    async def _heard(self, message: Msg) -> None:
        self._note(message.data)

    def _note(self, raw: bytes) -> None:
        told = _parsed(_Word, raw)
        if told is not None and told.node != self._node:
            word = NodeWord(told.node, told.sessions, told.has_room, told.leaving)
            self._words[told.node] = (word, self._clock.monotonic())

    async def _freed(self, message: Msg) -> None:
        told = _parsed(_Entry, message.data)
        if told is not None and told.node != self._node:
            with contextlib.suppress(BadToken):
                self._news(Freed(SessionId.parse(told.session)))

    # --- taking and giving up ---------------------------------------------------

    def _is_of_node(self, held: _Entry) -> bool:
        return held.node == self._node

    def _entry(self, session: SessionId) -> bytes:
        entry = _Entry(node=self._node, life=self._life, session=session.dotted)
        return entry.model_dump_json().encode()

    async def _take(
        self, key: str, session: SessionId, ttl: float, is_ours: Callable[[_Entry], bool]
    ) -> bool:
        held = self._held.get(key)
        if held is not None:
            return held.session == session
        value = self._entry(session)
        for _ in range(TRIES):
            began = self._clock.monotonic()
            try:
                found = await self._read(key)
                revision = 0
                if found is not None:
                    revision, raw = found
                    entry = _parsed(_Entry, raw) if raw != FREE else None
                    if entry is not None and not is_ours(entry):
                        return False
                revision = await self._write(key, value, revision, ttl)
            except _Moved:
                await asyncio.sleep(0.05)
                continue
            except AWAY as error:
                raise LeaseAway(str(error) or type(error).__name__) from error
            self._held[key] = _Lease(session, ttl, revision, renewed=began, tried=began)
            return True
        return False

    async def _drop_accounts(self, session: SessionId, but: str | None) -> None:
        mine = [
            key
            for key, lease in self._held.items()
            if lease.session == session and key != _session_key(session) and key != but
        ]
        for key in mine:
            await self._drop(key)

    async def _drop(self, key: str) -> None:
        lease = self._held.pop(key, None)
        if lease is None:
            return
        async with lease.turn:
            # What somebody else has by now is theirs, and what cannot be given up runs out.
            with contextlib.suppress(_Moved, *AWAY):
                await self._write(key, FREE, lease.revision, 1)

    # --- renewing ---------------------------------------------------------------

    async def _renew_for_ever(self) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def renew(key: str, lease: _Lease) -> None:
            async with places, lease.turn:
                if self._held.get(key) is lease:
                    await self._renew(key, lease)

        # Each at its own time, a third of its life after the last: all at once they would
        # hold up every message for as long as they take.
        tick = self._ttl / 15
        while True:
            await asyncio.sleep(tick)
            now = self._clock.monotonic()
            renewals = [
                renew(key, lease)
                for key, lease in list(self._held.items())
                if now - lease.tried >= lease.ttl / 3 - tick
            ]
            for came in await asyncio.gather(*renewals, return_exceptions=True):
                if isinstance(came, Exception):
                    # A mistake about one lease must not cost the others theirs.
                    log.error("lease.mistake", error=repr(came))

    async def _renew(self, key: str, lease: _Lease) -> None:
        lease.tried = began = self._clock.monotonic()
        try:
            try:
                lease.revision = await self._write(
                    key, self._entry(lease.session), lease.revision, lease.ttl
                )
            except _Moved:
                await self._look_again(key, lease)
        except _Moved:
            self._lose(key, lease)
        except AWAY as error:
            log.debug("lease.not_renewed", of=_kind(key), error=type(error).__name__)
            # Without other nodes nobody can have it, however long the broker is away.
            if began - lease.renewed > lease.ttl and self._had_company(lease):
                self._lose(key, lease)
        else:
            lease.renewed = began

    async def _look_again(self, key: str, lease: _Lease) -> None:
        """Find out what moved the entry; raises _Moved if it was somebody else."""
        found = await self._read(key)
        if found is None:
            # It ran out, as after an outage of the broker, and nobody has it now.
            lease.revision = await self._write(key, self._entry(lease.session), 0, lease.ttl)
            log.info("lease.lapsed", of=_kind(key), session=str(lease.session))
            if key.startswith(SESSIONS):
                self._news(Lapsed(lease.session))
            return
        revision, raw = found
        if raw != self._entry(lease.session):
            raise _Moved
        # A renewal of our own, whose answer was lost.
        lease.revision = revision

    def _had_company(self, lease: _Lease) -> bool:
        """Whether another node was heard at about the time of the last renewal, or since."""
        since = lease.renewed - lease.ttl
        return any(heard >= since for _, heard in self._words.values())

    def _lose(self, key: str, lease: _Lease) -> None:
        self._held.pop(key, None)
        log.warning("lease.lost", of=_kind(key), session=str(lease.session))
        is_session = key.startswith(SESSIONS)
        self._news(Lost(lease.session) if is_session else AccountLost(lease.session))

    # --- the bucket -------------------------------------------------------------

    async def _write(self, key: str, value: bytes, revision: int, ttl: float) -> int:
        """Write an entry that runs out; raises _Moved unless `revision` is its last, and AWAY."""
        headers = {GUARD_SEQUENCE: str(revision), "Nats-TTL": f"{max(1, round(ttl))}s"}
        try:
            ack = await self._js.publish(key, value, stream=STREAM, headers=headers)
        except js_errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE or error.err_code in IN_PROCESS:
                raise _Moved from None
            raise
        return ack.seq

    async def _read(self, key: str) -> tuple[int, bytes] | None:
        """Return revision and value of an entry; raises AWAY."""
        try:
            # Not a direct get: a follower of a cluster may answer those with old news.
            found = await self._js.get_last_msg(STREAM, key, direct=False)
        except js_errors.NotFoundError:
            return None
        return found.seq or 0, found.data or b""

    async def _subjects(self, family: str) -> list[str]:
        info = await self._js.stream_info(STREAM, subjects_filter=family)
        return list(info.state.subjects or {})


def _session_key(session: SessionId) -> str:
    return SESSIONS + session.dotted


def _account_key(phone: str) -> str:
    # A phone number is nobody's to read, in a bucket no more than in a log line.
    return f"{PREFIX}account.{hashlib.sha256(phone.encode()).hexdigest()[:32]}"


def _kind(key: str) -> str:
    """Say what is leased; the rest of an account's entry is nobody's to read."""
    return key.removeprefix(PREFIX).partition(".")[0]


def _parsed(kind: type[Read], raw: bytes) -> Read | None:
    try:
        return kind.model_validate_json(raw)
    except ValidationError:
        return None
