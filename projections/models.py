"""The read models in Redis as their writer sees them: one generation, scripts, positions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from redis.exceptions import NoScriptError

from events.clock import utc_now
from events.message import MessageEvent
from events.redis import Redis, primaries
from events.session import State
from events.subjects import SessionId
from projections import entries, keys, rows
from projections.facts import Fact
from projections.rows import Answer, Change, Row
from projections.views import NodeView

log = structlog.get_logger()

SESSIONS, MESSAGES = "sessions", "messages"
PROJECTIONS = (SESSIONS, MESSAGES)

HISTORY = 1_000
"""Messages kept for each session, the newest."""

CHUNK_BYTES = 512_000
"""A script holds up everybody else's Redis, so one call takes no more than this."""


class Lost(Exception):
    """Redis holds less than was written there: go back to the position it has."""


@dataclass(slots=True)
class Track:
    """How far a projection is, and why it stopped if it did."""

    name: str
    position: int = 0
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the messages of a session stand: the life's first position and the last applied."""

    exists: bool
    born: int
    position: int


class Script:
    """A Lua script by its hash; Redis forgets scripts when it starts anew."""

    def __init__(self, file: str) -> None:
        self._text = (Path(__file__).parent / file).read_text()
        self.sha = ""

    async def load(self, redis: Redis) -> None:
        """Give the script to Redis."""
        self.sha = await redis.script_load(self._text)


class Models:
    """One generation of the read models."""

    def __init__(self, redis: Redis, generation: int, keep: timedelta) -> None:
        self.redis = redis
        self.generation = generation
        self._keep = keep
        self._session = Script("apply_session.lua")
        self._messages = Script("apply_messages.lua")
        self._node = Script("apply_node.lua")
        self._open = Script("open.lua")
        self._commit = Script("commit.lua")
        self._memories: frozenset[str] = frozenset()

    # --- sessions -------------------------------------------------------------

    async def rows(self, sessions: Sequence[SessionId]) -> list[Row]:
        """Read rows; a session that is not there has an empty one."""
        pipe = self.redis.pipeline(transaction=False)
        for session in sessions:
            key = keys.row(self.generation, session)
            pipe.hmget(key, ["version", "state", "position", "row"])
        found = cast("list[list[str | None]]", await pipe.execute())
        return [rows.load(*fields) for fields in found]

    async def write(self, changes: Mapping[SessionId, Change], live: bool) -> list[SessionId]:
        """Write rows; return those that have moved since they were read. One call a session."""
        calls = [self._change(session, change, live) for session, change in changes.items()]
        answers = await self._run(self._session, calls)
        return [
            session for session, answer in zip(changes, answers, strict=True) if answer == "moved"
        ]

    def _change(
        self, session: SessionId, change: Change, live: bool
    ) -> tuple[list[str], list[str | int]]:
        row, totals = change.row, change.totals
        # A rebuild goes through the past; the code in Redis belongs to the present.
        void = change.left_pairing if live else None
        args: list[str | int] = [
            change.base.version,
            row.version,
            row.position,
            row.session.state.value,
            rows.dump(row),
            "" if change.born is None else change.born,
            "" if void is None else entries.milliseconds(void),
        ]
        if totals is None:
            args += ["", "", "", ""]
        else:
            args += [totals.message_version, totals.received, totals.sent, totals.failed]
        return [
            keys.row(self.generation, session),
            keys.history(self.generation, session),
            keys.qr(session),
        ], args

    async def index(self, sessions: Iterable[SessionId]) -> None:
        """Make the index say of these sessions what their rows say."""
        name, touched = keys.index(self.generation), list(sessions)
        if not touched:
            return
        there, gone = await self._parted(touched)
        if there:
            await self.redis.zadd(name, {keys.index_member(session): 0 for session in there})
        if gone:
            await self.redis.zrem(name, *(keys.index_member(session) for session in gone))
            # Another projector may have seen one return between our look and our removal.
            back, _ = await self._parted(gone)
            if back:
                await self.redis.zadd(name, {keys.index_member(session): 0 for session in back})

    async def _parted(self, sessions: list[SessionId]) -> tuple[list[SessionId], list[SessionId]]:
        pipe = self.redis.pipeline(transaction=False)
        for session in sessions:
            pipe.hget(keys.row(self.generation, session), "state")
        states = cast("list[str | None]", await pipe.execute())
        there = [
            session
            for session, state in zip(sessions, states, strict=True)
            if state is not None and state != State.REMOVED
        ]
        return there, [session for session in sessions if session not in set(there)]

    # --- nodes ----------------------------------------------------------------

    async def say(self, nodes: Iterable[NodeView]) -> None:
        """Keep what nodes said, unless something later is kept already."""
        called = [keys.nodes(self.generation)]
        await self._run(
            self._node,
            [(called, [each.node, each.position, each.model_dump_json()]) for each in nodes],
        )

    # --- messages -------------------------------------------------------------

    async def mark(self, session: SessionId) -> Mark:
        """Read where the messages of a session stand."""
        reading = cast(
            "Awaitable[list[str | None]]",
            self.redis.hmget(
                keys.row(self.generation, session), ["version", "born", "message_position"]
            ),
        )
        version, born, position = await reading
        return Mark(version is not None, int(born or 0), int(position or 0))

    async def add(
        self,
        facts: Mapping[SessionId, Sequence[Fact[MessageEvent]]],
        base: int | None = None,
    ) -> dict[SessionId, list[Answer]]:
        """Apply message events and return a word for each."""
        owners: list[SessionId] = []
        calls: list[tuple[list[str], list[str | int]]] = []
        for session, run in facts.items():
            called = [
                keys.row(self.generation, session),
                keys.history(self.generation, session),
            ]
            for chunk in self._chunks(run, base):
                owners.append(session)
                calls.append((called, [chunk, HISTORY]))
        answers: dict[SessionId, list[Answer]] = {session: [] for session in facts}
        for session, words in zip(owners, await self._run(self._messages, calls), strict=True):
            answers[session] += cast("list[Answer]", words)
        return answers

    def _chunks(self, run: Sequence[Fact[MessageEvent]], base: int | None) -> Iterable[str]:
        chunk, size = list[str](), 0
        for fact in run:
            step = json.dumps(entries.step(fact, self._keep, base), ensure_ascii=False)
            if chunk and size + len(step) > CHUNK_BYTES:
                yield f"[{','.join(chunk)}]"
                chunk, size = [], 0
            chunk.append(step)
            size += len(step)
        if chunk:
            yield f"[{','.join(chunk)}]"

    # --- positions ------------------------------------------------------------

    async def open(self) -> list[Track]:
        """Read how far the projections are; what was never there begins at 0.

        So does everything if a server of a cluster may have lost rows below the positions.
        """
        self._memories = await primaries(self.redis)
        called = [keys.memories(self.generation)]
        called += [keys.track(self.generation, name) for name in PROJECTIONS]
        ((word, *held),) = await self._run(self._open, [(called, sorted(self._memories))])
        if word == "rewound":
            log.warning("projection.rewound", generation=self.generation)
        return [
            Track(name, int(position)) for name, position in zip(PROJECTIONS, held, strict=True)
        ]

    async def commit(self, tracks: Sequence[Track], reached: Mapping[str, int]) -> None:
        """Write positions after all below them is applied; raise Lost if Redis went back."""
        # The script looks at the server that it runs on, and there are no others but here.
        if len(self._memories) > 1 and await primaries(self.redis) != self._memories:
            raise Lost
        args: list[str | int] = [_now(), " ".join(self._memories)]
        for track in tracks:
            args += [track.position, reached[track.name], track.stopped or ""]
        called = [keys.track(self.generation, track.name) for track in tracks]
        (answer,) = await self._run(self._commit, [(called, args)])
        if answer == "lost":
            raise Lost
        for track in tracks:
            # Two commits may be under way, ours and the watch's; the later one counts.
            track.position = max(track.position, reached[track.name])

    async def read_from(self, log: str) -> bool:
        """Note which log this is projected from; false if it was another one before."""
        key = keys.track(self.generation, "log")
        await self.redis.set(key, log, nx=True)
        return await self.redis.get(key) == log

    # --- scripts --------------------------------------------------------------

    async def _run(
        self, script: Script, calls: Sequence[tuple[list[str], Sequence[str | int]]]
    ) -> list[Any]:
        if not calls:
            return []
        if not script.sha:
            await script.load(self.redis)
        try:
            return await self._pipe(script, calls)
        except NoScriptError:
            # Redis started anew. What did run of this pipe is seen the second time.
            await script.load(self.redis)
            return await self._pipe(script, calls)

    async def _pipe(
        self, script: Script, calls: Sequence[tuple[list[str], Sequence[str | int]]]
    ) -> list[Any]:
        pipe = self.redis.pipeline(transaction=False)
        for called, args in calls:
            # Not `evalsha`, which redis-py refuses in a cluster's pipeline, as it cannot
            # know that a script is there; `_run` sees to that.
            pipe.execute_command("EVALSHA", script.sha, len(called), *called, *args)
        return await pipe.execute()


async def current(redis: Redis) -> int:
    """Return the generation in use; the first one if Redis knows of none."""
    await redis.set(keys.CURRENT, "1", nx=True)
    # Whoever empties Redis may do so between the two.
    return int(cast("str | None", await redis.get(keys.CURRENT)) or 1)


async def wipe(redis: Redis, pattern: str, but: str | None = None) -> int:
    """Delete all keys of a pattern, except those that begin with `but`."""
    deleted, batch = 0, list[str]()
    found = cast("AsyncIterator[str]", redis.scan_iter(match=pattern, count=500))
    async for key in found:
        if but is None or not key.startswith(but):
            batch.append(key)
        if len(batch) >= 500:
            deleted += await _unlink(redis, batch)
            batch = []
    return deleted + await _unlink(redis, batch)


async def _unlink(redis: Redis, batch: list[str]) -> int:
    # One by one, since on a cluster they lie in many slots.
    pipe = redis.pipeline(transaction=False)
    for key in batch:
        # Not `unlink`, which a cluster's pipeline does at once, and has to be awaited.
        pipe.execute_command("UNLINK", key)
    return sum(cast("list[int]", await pipe.execute()))


def _now() -> str:
    return utc_now().isoformat()


def at(value: str | None) -> datetime | None:
    """Read a time as it was written."""
    return None if value is None else datetime.fromisoformat(value)
