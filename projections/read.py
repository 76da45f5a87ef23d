"""Reading the read models: what readers may ask, and the answers from Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol, cast

from events import subjects
from events.breaker import BreakerState
from events.content import Kept
from events.log import Log, LogError
from events.redis import AWAY, PartAway, Redis, connect, ping
from events.session import Session, State
from events.session_events import Totals
from events.settings import Settings
from events.subjects import SessionId
from projections import keys, models, rows
from projections.rows import Row
from projections.views import (
    BreakerView,
    MessageView,
    NodeView,
    ProjectionHealth,
    QrView,
    SessionView,
)

DEADLINE = 1.0
"""Seconds until a read has failed."""

FOLLOW = 0.5
"""Seconds for which the generation in use is remembered; a rebuild keeps the old one longer."""

_ROW_FIELDS = ("version", "state", "position", "row")
_TOTAL_FIELDS = ("received", "sent", "failed", "message_version", "counted", "last_message")


class ReadModelsAway(Exception):
    """Redis cannot be reached or does not answer in time. `part` says which of its servers."""

    def __init__(self, message: str = "", part: str | None = None) -> None:
        super().__init__(message)
        self.part = part


class ReadModels(Protocol):
    """What the gateway reads. Every call raises ReadModelsAway."""

    async def session(self, session: SessionId) -> SessionView | None:
        """Look up a session by its two halves."""
        ...

    async def by_joined(self, joined: str) -> SessionId | None:
        """Find which pair an outside id belongs to. The id is never split."""
        ...

    async def sessions(self, user: str | None = None) -> list[SessionView]:
        """List all sessions, or one user's, oldest first."""
        ...

    async def nodes(self) -> list[NodeView]:
        """List what each node said last of its launches, by name."""
        ...

    async def qr(self, session: SessionId) -> QrView | None:
        """Return the code that is valid now, if there is one."""
        ...

    async def message(self, session: SessionId, message: str) -> MessageView | None:
        """Look up a message this service sent by its idempotency key."""
        ...

    async def history(
        self, session: SessionId, limit: int, before: int | None = None
    ) -> list[MessageView]:
        """List the newest messages first; `before` is a position to page on from."""
        ...

    async def health(self) -> list[ProjectionHealth]:
        """Tell how far each projection is; lag counts events, None if the log is away."""
        ...

    async def ping(self) -> float:
        """Measure a round trip to Redis, in seconds."""
        ...


class RedisReadModels:
    """The read models in Redis. Give it the log as well, and health tells the lag."""

    def __init__(self, redis: Redis, log: Log | None = None, deadline: float = DEADLINE) -> None:
        self._redis = redis
        self._log = log
        self._deadline = deadline
        self._generation: tuple[float, int] | None = None

    @classmethod
    def open(cls, settings: Settings, log: Log | None = None) -> RedisReadModels:
        """Make one with a pool of its own; nothing is sent before the first question."""
        return cls(connect(settings), log)

    async def close(self) -> None:
        """Close the pool."""
        await self._redis.aclose()

    async def session(self, session: SessionId) -> SessionView | None:
        """See ReadModels.session."""
        async with self._answer():
            return (await self._views(await self._current(), [session]))[0]

    async def by_joined(self, joined: str) -> SessionId | None:
        """See ReadModels.by_joined."""
        async with self._answer():
            generation = await self._current()
            found = await cast(
                "Awaitable[list[str]]",
                self._redis.zrangebylex(keys.index(generation), f"[{joined}:", f"({joined};"),
            )
            # The index may be a moment behind; the row itself says whether it is there.
            candidates = [keys.session_of(member) for member in found]
            views = await self._views(generation, candidates)
            return next((each for each, view in zip(candidates, views, strict=True) if view), None)

    async def sessions(self, user: str | None = None) -> list[SessionView]:
        """See ReadModels.sessions."""
        async with self._answer():
            generation = await self._current()
            members = cast("list[str]", await self._redis.zrange(keys.index(generation), 0, -1))
            wanted = [keys.session_of(member) for member in members]
            if user is not None:
                wanted = [session for session in wanted if session.user == user]
            views = [view for view in await self._views(generation, wanted) if view is not None]
            return sorted(views, key=lambda view: (view.created, view.session))

    async def nodes(self) -> list[NodeView]:
        """See ReadModels.nodes."""
        async with self._answer():
            held = await cast(
                "Awaitable[dict[str, str]]", self._redis.hgetall(keys.nodes(await self._current()))
            )
            return [NodeView.model_validate_json(held[node]) for node in sorted(held)]

    async def qr(self, session: SessionId) -> QrView | None:
        """See ReadModels.qr."""
        async with self._answer():
            held = await cast("Awaitable[dict[str, str]]", self._redis.hgetall(keys.qr(session)))
            return QrView.model_validate(held) if held else None

    async def message(self, session: SessionId, message: str) -> MessageView | None:
        """See ReadModels.message."""
        async with self._answer():
            key = keys.entry(await self._current(), session, f"o:{message}")
            held = await cast("Awaitable[dict[str, str]]", self._redis.hgetall(key))
            return message_view(held) if held else None

    async def history(
        self, session: SessionId, limit: int, before: int | None = None
    ) -> list[MessageView]:
        """See ReadModels.history."""
        async with self._answer():
            generation = await self._current()
            views: list[MessageView] = []
            newest = "+inf" if before is None else f"({before}"
            while len(views) < limit:
                page = cast(
                    "list[tuple[str, float]]",
                    await self._redis.zrevrangebyscore(
                        keys.history(generation, session),
                        newest,
                        "-inf",
                        start=0,
                        num=limit - len(views),
                        withscores=True,
                    ),
                )
                if not page:
                    break
                names = [name for name, _ in page]
                views += await self._messages(generation, session, names)
                newest = f"({int(page[-1][1])}"
            return views

    async def health(self) -> list[ProjectionHealth]:
        """See ReadModels.health."""
        async with self._answer():
            generation = await self._current()
            pipe = self._redis.pipeline(transaction=False)
            for name in models.PROJECTIONS:
                pipe.hgetall(keys.track(generation, name))
            held = cast("list[dict[str, str]]", await pipe.execute())
        tail = await self._tail()
        return [
            _health(name, fields, tail)
            for name, fields in zip(models.PROJECTIONS, held, strict=True)
        ]

    async def ping(self) -> float:
        """See ReadModels.ping."""
        began = time.monotonic()
        async with self._answer():
            # Less than the deadline, so that there is time to say who did not answer.
            await ping(self._redis, self._deadline / 2)
        return time.monotonic() - began

    @asynccontextmanager
    async def _answer(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except AWAY as error:
            part = str(error) if isinstance(error, PartAway) else None
            raise ReadModelsAway(f"Redis: {type(error).__name__}", part) from error

    async def _current(self) -> int:
        now = time.monotonic()
        if self._generation is None or now - self._generation[0] > FOLLOW:
            held = cast("str | None", await self._redis.get(keys.CURRENT))
            self._generation = (now, int(held or 1))
        return self._generation[1]

    async def _tail(self) -> int | None:
        if self._log is None:
            return None
        try:
            async with asyncio.timeout(self._deadline):
                return await self._log.tail(subjects.ALL_EVENTS)
        except (LogError, TimeoutError):
            return None

    async def _views(
        self, generation: int, sessions: Sequence[SessionId]
    ) -> list[SessionView | None]:
        pipe = self._redis.pipeline(transaction=False)
        for session in sessions:
            pipe.hmget(keys.row(generation, session), [*_ROW_FIELDS, *_TOTAL_FIELDS])
        held = cast("list[list[str | None]]", await pipe.execute())
        return [
            _session_view(session, fields) for session, fields in zip(sessions, held, strict=True)
        ]

    async def _messages(
        self, generation: int, session: SessionId, names: Sequence[str]
    ) -> list[MessageView]:
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(keys.entry(generation, session, name))
        held = cast("list[dict[str, str]]", await pipe.execute())
        return [message_view(fields) for fields in held if fields]


def _session_view(session: SessionId, fields: Sequence[str | None]) -> SessionView | None:
    row = rows.load(*fields[:4])
    received, sent, failed, version, counted, last = fields[4:]
    totals = Totals(
        received=int(received or 0),
        sent=int(sent or 0),
        failed=int(failed or 0),
        reconnections=row.session.totals.reconnections,
        message_version=max(int(version or 0), int(counted or 0)),
    )
    return view_of(session, row, totals, models.at(last))


def view_of(
    session: SessionId, row: rows.Row, totals: Totals, heard: datetime | None = None
) -> SessionView | None:
    """Show a row, or None where there is no such session. `heard`: when its last message came."""
    folded = row.session
    if folded.state in {State.NOTHING, State.REMOVED} or row.created is None:
        return None
    updated = row.updated or row.created
    since = folded.since or row.created
    return SessionView(
        user=session.user,
        bot=session.bot,
        session=session.joined,
        state=folded.state.value,
        word=folded.word,
        wanted=folded.wanted,
        linked=folded.linked,
        starts=starts(folded),
        page=page(folded),
        phone=folded.phone,
        lid=folded.lid,
        push_name=folded.push_name,
        reason=folded.reason,
        error=folded.error,
        attempt=_attempt(row),
        deadline=folded.deadline,
        percent=folded.percent,
        node=row.node,
        created=row.created,
        updated=updated,
        since=since,
        last_activity=max(updated, heard) if heard else updated,
        ready_since=since if folded.state is State.READY else None,
        totals=totals,
        version=folded.version,
        position=row.position,
    )


def starts(folded: Session) -> BreakerView:
    """Show the breaker of a session's starts."""
    return BreakerView(
        state=folded.breaker,
        failures=folded.failures,
        rejected=folded.rejected,
        next_attempt=folded.deadline if folded.breaker is BreakerState.OPEN else None,
        since=folded.breaker_since,
    )


def page(folded: Session) -> BreakerView:
    """Show the breaker of the calls into a session's page."""
    return BreakerView(
        state=folded.page.state,
        failures=folded.page.failures,
        rejected=folded.page.rejected,
        next_attempt=folded.page.until,
        since=folded.page_since,
    )


def _attempt(row: Row) -> int:
    """Count what the state counts: codes shown while pairing, failures in a row otherwise."""
    folded = row.session
    return folded.qr_attempt if folded.state is State.PAIRING else folded.failures


def message_view(held: Mapping[str, str | int]) -> MessageView:
    """Show an entry of a history, as its fields say it."""
    absent = dict.fromkeys(("message", "wa_id", "key", "sender", "author", "reason", "push_name"))
    file = held.get("media")
    kept = None if file is None else Kept.model_validate_json(str(file))
    return MessageView.model_validate({**absent, **held, "media": kept})


def _health(name: str, held: dict[str, str], tail: int | None) -> ProjectionHealth:
    position = int(held.get("position", 0))
    return ProjectionHealth(
        projection=name,
        position=position,
        # Counted in places of the log, some of which expired messages left empty.
        lag=None if tail is None else max(0, tail - position),
        updated=models.at(held.get("updated")),
        stopped=held.get("stopped") or None,
    )
