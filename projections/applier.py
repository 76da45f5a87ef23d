"""Applying events to the read models exactly once, and healing gaps from the log.

Two projections: `sessions` and `messages`. A session's events always go first,
because a message is judged by the life of its session: `registered` must be
there, and what came before the last `removed` is gone. So `messages` never
passes a stopped `sessions`, while a stopped `messages` holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import structlog

from events import session_events as e
from events import subjects
from events.log import Log, Stored
from events.message import MessageEvent
from events.session_events import SessionEvent
from events.subjects import SessionId
from projections import facts, nodes, rows
from projections.facts import E, Fact, Stuck
from projections.models import MESSAGES, PROJECTIONS, SESSIONS, Lost, Models, Track
from projections.rows import Change, Row

log = structlog.get_logger()

HEALING = (0.0, 0.3, 1.0)
"""Pauses before each try to close a gap: a replica of the log may be a moment behind."""

CHUNK = 500
"""Messages read at a time when a family is read again."""

RACES = 20
"""How often a row may move between our reading and our writing before we start over."""


class Applier:
    """The one way into a generation of models. `live` is false for a rebuild beside it."""

    def __init__(self, log: Log, models: Models, live: bool = True) -> None:
        self._log = log
        self._models = models
        self._live = live
        self._rows: dict[SessionId, Row] = {}
        self.tracks: dict[str, Track] = {name: Track(name) for name in PROJECTIONS}

    async def open(self) -> None:
        """Take up the positions that Redis has. What stopped is tried again."""
        self.tracks = {track.name: track for track in await self._models.open()}

    @property
    def running(self) -> list[Track]:
        """The projections that have not stopped."""
        return [track for track in self.tracks.values() if track.stopped is None]

    async def apply(self, batch: Sequence[Stored]) -> None:
        """Apply events in the log's order, then write the positions. Raises Lost."""
        sessions, messages = self.tracks[SESSIONS], self.tracks[MESSAGES]
        reached = {track.name: track.position for track in self.tracks.values()}
        if sessions.stopped is None:
            reached[SESSIONS] = _advance(sessions, batch, await self._apply_sessions(batch))
        if messages.stopped is None:
            if sessions.stopped is not None:
                batch = [stored for stored in batch if stored.position <= reached[SESSIONS]]
            if batch:
                reached[MESSAGES] = _advance(messages, batch, await self._apply_messages(batch))
            if sessions.stopped is not None and messages.stopped is None:
                messages.stopped = f"waits for sessions: {sessions.stopped}"
        await self._models.commit(list(self.tracks.values()), reached)

    async def confirm(self) -> None:
        """Say that we are here and still where we were; raise Lost if Redis went back."""
        reached = {track.name: track.position for track in self.tracks.values()}
        await self._models.commit(list(self.tracks.values()), reached)

    # --- sessions -------------------------------------------------------------

    async def _apply_sessions(self, batch: Sequence[Stored]) -> Stuck | None:
        run, poison = _decoded(batch, "session", facts.session_fact)
        parted = facts.by_session(run)
        said, unreadable = nodes.newest(batch)
        await self._models.say(said)
        stuck = [poison, unreadable]
        for session, change in (await self._write(parted)).items():
            stuck.append(change.stuck)
            if change.gap:
                early = parted[session][change.answers.index("gap")]
                stuck.append(await self._heal_session(session, early))
        return _first(stuck)

    async def _write(
        self, parted: Mapping[SessionId, Sequence[Fact[SessionEvent]]]
    ) -> dict[SessionId, Change]:
        await self._read_rows([session for session in parted if session not in self._rows])
        done: dict[SessionId, Change] = {}
        waiting = list(parted)
        for _ in range(RACES):
            changes = {each: rows.fold(self._rows[each], parted[each]) for each in waiting}
            moved = await self._models.write(
                {each: change for each, change in changes.items() if change.writes}, self._live
            )
            done |= changes
            self._rows |= {each: changes[each].row for each in waiting}
            if not moved:
                # Also for what was seen before: a crash may have come between row and index.
                await self._models.index(each for each in parted if _lives(parted[each]))
                return done
            await self._read_rows(moved)
            waiting = moved
        raise Lost

    async def _read_rows(self, sessions: Sequence[SessionId]) -> None:
        if sessions:
            found = await self._models.rows(sessions)
            self._rows |= dict(zip(sessions, found, strict=True))

    async def _heal_session(self, session: SessionId, early: Fact[SessionEvent]) -> Stuck | None:
        """Read what is missing before an event from the log; tell why if it is not there."""
        await self.confirm()  # After a FLUSHALL everything is missing, and all is read anew.
        log.info("projection.gap", session=session.dotted, version=early.version)
        for pause in HEALING:
            await asyncio.sleep(pause)
            stuck = await self._refill_session(session)
            if stuck is not None or self._rows[session].version >= early.version:
                return stuck
        held = self._rows[session].version
        return Stuck(
            early.position,
            f"{session.dotted}: session event {held + 1} is missing before {early.version}",
        )

    async def _refill_session(self, session: SessionId) -> Stuck | None:
        await self._read_rows([session])
        was = self._rows[session]
        family = [subjects.session_family(session)]
        read = [stored async for stored in self._log.read(family, was.position + 1)]
        run, poison = _decoded(read, "session", facts.session_fact)
        if run:
            change = (await self._write({session: run}))[session]
            poison = _first([poison, change.stuck])
        if was.version == 0 and self.tracks[MESSAGES].stopped is None:
            # The whole key was missing, and the counters of the messages with it.
            poison = _first([poison, await self._refill_messages(session)])
        return poison

    # --- messages -------------------------------------------------------------

    async def _apply_messages(self, batch: Sequence[Stored]) -> Stuck | None:
        run, poison = _decoded(batch, "message", facts.message_fact)
        parted = facts.by_session(run)
        stuck = [poison]
        for session, answers in (await self._models.add(parted)).items():
            if "gap" in answers:
                early = parted[session][answers.index("gap")]
                stuck.append(await self._heal_messages(session, early))
        return _first(stuck)

    async def _heal_messages(self, session: SessionId, early: Fact[MessageEvent]) -> Stuck | None:
        await self.confirm()
        log.info("projection.gap", session=session.dotted, version=early.version, family="message")
        for pause in HEALING:
            await asyncio.sleep(pause)
            if not (await self._models.mark(session)).exists:
                stuck = await self._refill_session(session)
            else:
                stuck = await self._refill_messages(session)
            mark = await self._models.mark(session)
            if stuck is not None or max(mark.position, mark.born) >= early.position:
                return stuck
        if await self._log.tail(subjects.message_family(session)) < early.position:
            return None  # It was purged from the log meanwhile, as a deleted session's are.
        return Stuck(
            early.position,
            f"{session.dotted}: message events are missing before {early.version}",
        )

    async def _refill_messages(self, session: SessionId) -> Stuck | None:
        mark = await self._models.mark(session)
        family = [subjects.message_family(session)]
        base: int | None = None
        first = True
        async for chunk in _chunks(self._log.read(family, mark.born + 1)):
            run, poison = _decoded(chunk, "message", facts.message_fact)
            if first and run and run[0].position > mark.position:
                # The front of what the log still has of this life. As we hold nothing as
                # late as that, what lay between has expired, and the count begins here.
                base = run[0].version
            first = False
            answers = (await self._models.add({session: run}, base))[session]
            base = None
            if "gap" in answers:
                poison = _first([poison, _hole(session, run[answers.index("gap")])])
            if poison is not None:
                return poison
        return None


async def _chunks(read: AsyncIterator[Stored]) -> AsyncIterator[list[Stored]]:
    """Part what is read, so that a family of any length is never held at once."""
    chunk = list[Stored]()
    async for stored in read:
        chunk.append(stored)
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _hole(session: SessionId, fact: Fact[MessageEvent]) -> Stuck:
    return Stuck(
        fact.position, f"{session.dotted}: message event {fact.version} does not follow on the last"
    )


def _decoded(
    batch: Sequence[Stored], family: str, decode: Callable[[Stored], Fact[E]]
) -> tuple[list[Fact[E]], Stuck | None]:
    """Decode the events of a family up to the first that cannot be."""
    run: list[Fact[E]] = []
    for stored in batch:
        if facts.family_of(stored) == family:
            try:
                run.append(decode(stored))
            except Stuck as stuck:
                return run, stuck
    return run, None


def _first(stuck: Sequence[Stuck | None]) -> Stuck | None:
    found = [each for each in stuck if each is not None]
    return min(found, key=lambda each: each.position, default=None)


def _advance(track: Track, batch: Sequence[Stored], stuck: Stuck | None) -> int:
    """Return how far a projection got, and note why it stopped if it did."""
    end = batch[-1].position
    # Healing reads ahead of the batch; what it stumbles on there is met again in its turn.
    if stuck is None or stuck.position > end:
        return max(track.position, end)
    track.stopped = f"position {stuck.position}: {stuck.reason}"
    log.error("projection.stopped", projection=track.name, reason=track.stopped)
    return max(track.position, stuck.position - 1)


def _lives(run: Sequence[Fact[SessionEvent]]) -> bool:
    return any(isinstance(fact.event, e.Registered | e.Removed) for fact in run)
