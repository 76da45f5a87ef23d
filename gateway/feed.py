"""The live feed: one tail of the log a process, and everyone who watches.

No consumer per client: a door (WebSocket today; Socket.IO and SSE are further
doors on this same feed) opens a view and reads frames. Whoever comes back with
a position first gets what was missed, from a temporary reader of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.api import RawStreamMsg

from events import codec, subjects
from events import log as log_errors
from events.clock import utc_now
from events.envelope import Envelope
from events.live import Qr, QueuePosition
from events.log import LogAway, Stored
from events.session_events import Crashed, Offline, Ready
from events.settings import Settings
from events.subjects import SessionId
from gateway import frames
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.codes import Codes
from gateway.directory import Directory
from gateway.frames import Frame
from gateway.outcomes import Heard, Outcomes
from gateway.pictures import data_url
from projections.views import QrView

log = structlog.get_logger()

WAITING = 1_000
"""Frames that may wait for a slow reader. Then it is dropped, and may come back."""

START = 2.0
"""Seconds to wait for the tail, which begins a moment after the connection is made."""

CATCH_UP = 1.0
"""Seconds that the tail gets to reach the end of the log when somebody comes."""

READERS = 8
"""Temporary readers at once."""

Note = Callable[[SessionId, Envelope, str], None]
EVERYTHING = (subjects.ALL_SESSION_EVENTS, subjects.ALL_MESSAGE_EVENTS)


class TooSlow(Exception):
    """The reader did not keep up; what waited for it is dropped."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody wants to see: a session or all, some events or all, a user's or anyone's."""

    session: str | None = None
    names: frozenset[str] | None = None
    user: str | None = None

    def wants(self, frame: Frame) -> bool:
        """Tell whether a frame is for this watch, whatever it is called."""
        if self.user is not None and frame.user != self.user:
            return False
        return self.session is None or frame.session == self.session


@dataclass(frozen=True, slots=True)
class Hole:
    """Something may be missing. `foreign`: the position is of another log altogether."""

    frame: Frame
    foreign: bool


class Line:
    """The frames that wait for one reader."""

    def __init__(self, watch: Watch, limit: int) -> None:
        self.watch = watch
        self._limit = limit
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()
        self.overflowed = False

    def put(self, frame: Frame) -> None:
        """Add a frame, unless the line is full."""
        if self.overflowed:
            return
        if len(self._frames) >= self._limit:
            self.overflowed = True
            self._frames.clear()
        else:
            self._frames.append(frame)
        self._news.set()

    def reset(self) -> None:
        """Begin anew after an overflow."""
        self._frames.clear()
        self.overflowed = False

    async def next(self) -> Frame:
        """Return the next frame; raises TooSlow."""
        while not self._frames:
            if self.overflowed:
                raise TooSlow
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()


class Feed:
    """Tails the log and deals frames out."""

    def __init__(
        self,
        *,
        settings: Settings,
        broker: Broker,
        outcomes: Outcomes,
        directory: Directory,
        codes: Codes,
        waiting: int = WAITING,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._outcomes = outcomes
        self._log = BrokerLog(broker)
        self._directory = directory
        self._codes = codes
        self._waiting = waiting
        self._lines: set[Line] = set()
        self._away: set[SessionId] = set()
        self._notices: asyncio.Queue[Heard] = asyncio.Queue(WAITING)
        self._readers = asyncio.Semaphore(READERS)
        self._position: int | None = None
        self._started = asyncio.Event()
        self._moved = asyncio.Event()
        self.running = False
        self.dropped = 0
        outcomes.watch_notices(self._heard)

    @property
    def watching(self) -> int:
        """How many readers there are."""
        return len(self._lines)

    @property
    def position(self) -> int:
        """The place in the log up to which everyone was told; raises BrokerAway at the start."""
        if self._position is None:
            raise BrokerAway
        return self._position

    async def open(self, watch: Watch, since: int | None) -> View:
        """Begin to watch; raises BrokerAway and ReadModelsAway.

        The current state and the QR code come first, then what came after
        `since`, then everything as it happens.
        """
        if self._broker.connected and not self._started.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), START)
        await self._caught_up()
        start = self.position
        line = Line(watch, self._waiting)
        # Listening begins before the state is read, so nothing falls between.
        self._lines.add(line)
        try:
            opening = await self._current(watch)
            if since is not None:
                hole = await self._gap(watch, since)
                opening += [] if hole is None else [hole.frame]
                since = None if hole is not None and hole.foreign else since
        except BaseException:
            self._lines.discard(line)
            raise
        return View(self, line, opening, since, start)

    def close(self, line: Line) -> None:
        """Stop watching."""
        self._lines.discard(line)

    async def _caught_up(self) -> None:
        """Let the tail reach the end, so that nobody is told what the state says already."""
        try:
            newest = await self._log.tail(subjects.ALL_EVENTS)
        except LogAway as error:
            raise BrokerAway from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP):
                while self.position < newest:
                    self._moved.clear()
                    await self._moved.wait()

    # --- the tail -----------------------------------------------------------------

    async def tail(self) -> None:
        """Tail the log for ever. Ends by cancellation only."""
        while True:
            await self._broker.until_connected()
            try:
                newest = await self._log.tail(subjects.ALL_EVENTS)
                if self._position is None or newest < self._position:
                    # A log that is shorter than what we told is another log.
                    self._position = newest if self._position is None else 0
                self.running = True
                self._started.set()
                async for stored in self._log.follow([subjects.ALL_EVENTS], self._position + 1):
                    if stored is not None:
                        self._deal_stored(stored)
                        self._position = stored.position
                        self._moved.set()
            except (LogAway, log_errors.Hole) as error:
                log.debug("feed.tail_cut", error=type(error).__name__)
            self.running = False
            await asyncio.sleep(0.2)

    def _deal_stored(self, stored: Stored) -> None:
        frame = self._frame(stored, self._away, self._outcomes.note)
        if frame is not None:
            self._deal(frame)

    def _deal(self, frame: Frame) -> None:
        for line in self._lines:
            if line.watch.wants(frame):
                line.put(frame)

    def _frame(
        self, stored: Stored, away: set[SessionId], note: Note | None = None
    ) -> Frame | None:
        try:
            envelope = stored.envelope
            payload = codec.payload_of(envelope)
            session = SessionId.parse(envelope.subject)
        except (codec.Undecodable, subjects.BadToken):
            return None
        if note is not None and stored.subject.startswith("wa.evt.session."):
            # Whoever opens a view now is shown a state that is not older than this.
            note(session, envelope, payload.kind)
        was_away = session in away
        match payload:
            case Offline() | Crashed():
                away.add(session)
            case Ready():
                away.discard(session)
            case _:
                pass
        return frames.of_event(session, envelope, payload, stored.position, was_away)

    # --- what is never stored -------------------------------------------------------

    def _heard(self, heard: Heard) -> None:
        # Frames that nobody waits for are not worth drawing a code.
        if isinstance(heard.payload, Qr | QueuePosition) and self._lines:
            if self._notices.full():
                self._notices.get_nowait()
            self._notices.put_nowait(heard)

    async def tell_notices(self) -> None:
        """Tell what is never stored, for ever. Ends by cancellation only."""
        while True:
            heard = await self._notices.get()
            match heard.payload:
                case Qr() as told:
                    code = QrView(code=told.code, attempt=told.attempt, expires=told.expires)
                    picture = await data_url(code.code)
                    self._deal(frames.of_qr(heard.session, code, picture, heard.envelope.id))
                case QueuePosition() as told:
                    self._deal(frames.of_queue(heard.session, told))
                case _:
                    pass

    # --- opening --------------------------------------------------------------------

    async def _current(self, watch: Watch) -> list[Frame]:
        if watch.session is None:
            views = await self._directory.every(watch.user)
        else:
            pair = await self._directory.pair(watch.session)
            view = None if pair is None else await self._directory.view(pair)
            if view is None or (watch.user is not None and view.user != watch.user):
                return [frames.of_nothing(watch.session)]
            views = [view]
        told: list[Frame] = []
        for view in views:
            session = SessionId(view.user, view.bot)
            told.append(frames.of_state(session, view))
            code = await self._codes.current(view)
            if code is not None:
                told.append(frames.of_qr(session, code, await data_url(code.code)))
        return told

    async def _gap(self, watch: Watch, since: int) -> Hole | None:
        """Tell whether something after a position may be gone from the log."""
        session = watch.session or "*"
        try:
            newest = await self._log.tail(subjects.ALL_EVENTS)
            if since > newest:
                return Hole(frames.gap(session, since, newest, "unknown_position"), foreign=True)
            if since == newest:
                return None
            first = await self._broker.jetstream.get_msg(
                subjects.EVENTS, seq=since + 1, subject=subjects.ALL_EVENTS, next=True
            )
        except (LogAway, js_errors.Error, nats_errors.Error, OSError, TimeoutError) as error:
            raise BrokerAway from error
        return (
            Hole(frames.gap(session, since, first.seq, "expired"), foreign=False)
            if self._old(first, since)
            else None
        )

    def _old(self, first: RawStreamMsg, since: int) -> bool:
        # Session events stay for ever and messages expire among them. So a
        # missing place tells, and so does an event as old as messages get:
        # of that age, messages behind it may be gone.
        memory = timedelta(days=self._settings.message_days)
        hole = first.seq is None or first.seq > since + 1
        return hole or first.time is None or first.time < utc_now() - memory

    # --- catching up ------------------------------------------------------------------

    async def missed(self, line: Line, since: int) -> AsyncGenerator[Frame]:
        """Read what came after a position, until the line takes over; raises BrokerAway."""
        pair = None
        if line.watch.session is not None:
            pair = await self._directory.pair(line.watch.session)
        filters = (
            EVERYTHING
            if pair is None
            else (subjects.session_family(pair), subjects.message_family(pair))
        )
        away: set[SessionId] = set()
        async with self._readers:
            while True:
                told = self.position
                try:
                    reading = _generator(self._log.read(filters, since + 1))
                    async with aclosing(reading) as events:
                        async for stored in events:
                            since = stored.position
                            frame = self._frame(stored, away)
                            if frame is not None and line.watch.wants(frame):
                                yield frame
                except (LogAway, log_errors.Hole) as error:
                    raise BrokerAway from error
                since = max(since, told)
                if not line.overflowed:
                    return
                # The line ran over meanwhile: read on from here, and show the
                # code again, since that may be what was dropped.
                line.reset()
                for frame in await self._current(line.watch):
                    yield frame


class View:
    """What one reader sees, frame by frame."""

    def __init__(
        self, feed: Feed, line: Line, opening: list[Frame], since: int | None, start: int
    ) -> None:
        self._feed = feed
        self._line = line
        self._opening = opening
        self._since = since
        self.position = start if since is None else since

    async def frames(self) -> AsyncGenerator[Frame]:
        """Give the frames in order, for ever; raises TooSlow and BrokerAway."""
        for frame in self._opening:
            yield frame
        if self._since is not None:
            async with aclosing(self._feed.missed(self._line, self._since)) as missed:
                async for frame in missed:
                    if frame.position is not None:
                        self.position = max(self.position, frame.position)
                    yield frame
        while True:
            frame = await self._line.next()
            if frame.position is not None:
                # What the temporary reader gave already waits in the line as well.
                if frame.position <= self.position:
                    continue
                self.position = frame.position
            yield frame

    def dropped(self) -> None:
        """Count that this reader was given up."""
        self._feed.dropped += 1

    def close(self) -> None:
        """Stop watching."""
        self._feed.close(self._line)


def _generator(iterator: AsyncIterator[Stored]) -> AsyncGenerator[Stored]:
    """Say what a reader really is, so that it can be closed before its end."""
    return cast("AsyncGenerator[Stored]", iterator)
