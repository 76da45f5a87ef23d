"""The live feed: one tail of the log a process, and everyone who watches.

No consumer per client: WebSocket and SSE open a view and read frames; Socket.IO,
which watches many sessions on one connection, joins them on one line. Whoever
comes back with a position first gets what was missed, from a temporary reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog

from events import subjects
from events.live import Qr, QueuePosition
from events.log import Hole, LogAway, Stored
from events.settings import Settings
from events.subjects import SessionId
from gateway import frames
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.codes import Codes
from gateway.directory import Directory
from gateway.frames import Frame, Told
from gateway.line import Line
from gateway.outcomes import Heard, Outcomes
from gateway.pictures import data_url
from gateway.replay import Replay
from gateway.watch import Watch
from projections.views import QrView

log = structlog.get_logger()

WAITING = 1_000
"""Frames that may wait for a slow reader. Then it is dropped, and may come back."""

START = 2.0
"""Seconds to wait for the tail, which begins a moment after the connection is made."""

CATCH_UP = 1.0
"""Seconds that the tail gets to reach the end of the log when somebody comes."""


Seen = Callable[[Stored, Told | None, float], None]
"""Told of each event with when its handling began; None for one of a pool."""


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
        seen: Seen,
    ) -> None:
        self._broker = broker
        self._outcomes = outcomes
        self._log = BrokerLog(broker)
        self._directory = directory
        self._codes = codes
        self._seen = seen
        self._replay = Replay(settings, broker, directory)
        self._waiting = WAITING
        # By session, None for those who watch all: a frame looks at no other line.
        self._lines: dict[str | None, dict[Line, Watch]] = {}
        self._over = False
        self._notices: asyncio.Queue[Heard] = asyncio.Queue(WAITING)
        self._position: int | None = None
        self._started = asyncio.Event()
        self._moved = asyncio.Event()
        self.running = False
        self.dropped = 0
        outcomes.watch_notices(self._heard)

    @property
    def watching(self) -> int:
        """How many readers there are."""
        return len({line for lines in self._lines.values() for line in lines})

    @property
    def position(self) -> int:
        """The place in the log up to which everyone was told; raises BrokerAway at the start."""
        if self._position is None:
            raise BrokerAway
        return self._position

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
                # Events of pools are told to nobody, and count: without them the
                # end of the log would never be reached.
                async for stored in self._log.follow([subjects.ALL_EVENTS], self._position + 1):
                    if stored is not None:
                        self._take(stored)
            except (LogAway, Hole) as error:
                log.debug("feed.tail_cut", error=type(error).__name__)
            self.running = False
            await asyncio.sleep(0.2)

    def _take(self, stored: Stored) -> None:
        began = time.perf_counter()
        told = frames.decoded(stored)
        if told is not None:
            if stored.subject.startswith("wa.evt.session."):
                # Whoever opens a view now is shown a state that is not older than this.
                self._outcomes.note(told.session, told.envelope, told.payload.kind)
            frame = frames.of_event(told)
            if frame is not None:
                self._deal(frame)
        self._position = stored.position
        self._moved.set()
        self._seen(stored, told, began)

    def _deal(self, frame: Frame) -> None:
        for place in (frame.session, None):
            for line, watch in self._lines.get(place, {}).items():
                if watch.wants(frame):
                    line.put(frame)

    # --- what is never stored -------------------------------------------------------

    def _heard(self, heard: Heard) -> None:
        # Where nobody watches, a code need not be drawn.
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

    # --- watching -------------------------------------------------------------------

    async def open(self, watch: Watch, since: int | None) -> View:
        """Begin to watch; raises BrokerAway and ReadModelsAway.

        The current state and the QR code come first, then what came after
        `since`, then everything as it happens.
        """
        await self._catch_up()
        start = self.position
        line = self.line()
        # Listening begins before the state is read, so nothing falls between.
        self._listen(line, watch)
        try:
            opening = await self.current(watch)
            if since is not None:
                gap = await self._replay.gap(watch, since)
                opening += [] if gap is None else [gap.frame]
                since = None if gap is not None and gap.foreign else since
        except BaseException:
            self.leave(line, watch.session)
            raise
        return View(
            self, self._replay, line, watch=watch, opening=opening, since=since, start=start
        )

    def line(self) -> Line:
        """Return a line for a reader, on which nothing comes yet."""
        return Line(self._waiting)

    async def join(self, line: Line, session: str, user: str | None) -> None:
        """Have a line get a session as well, if it is the user's (None: anyone's).

        Its current state and QR code come first, on every call. Raises BrokerAway
        and ReadModelsAway.
        """
        watch = Watch(session=session, user=user)
        await self._catch_up()
        line.hold(session)
        known = line in self._lines.get(session, {})
        self._listen(line, watch)
        opening: list[Frame] = []
        try:
            opening = await self.current(watch)
        except BaseException:
            if not known:
                self.leave(line, session)
            raise
        finally:
            line.release(session, opening)

    def leave(self, line: Line, session: str | None) -> None:
        """Stop watching a session, or all where it was all; nothing happens if nobody did."""
        here = self._lines.get(session, {})
        here.pop(line, None)
        if not here:
            self._lines.pop(session, None)

    def end(self) -> None:
        """Send everyone away, so that their connections do not hold up the end of the process."""
        self._over = True
        for lines in self._lines.values():
            for line in lines:
                line.end()

    def _listen(self, line: Line, watch: Watch) -> None:
        self._lines.setdefault(watch.session, {})[line] = watch
        if self._over:
            line.end()

    async def current(self, watch: Watch) -> list[Frame]:
        """Tell the state as it is, and the codes to scan."""
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

    async def _catch_up(self) -> None:
        """Let the tail reach the end, so that nobody is told what the state says already."""
        if self._broker.connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), START)
        try:
            newest = await self._log.tail(subjects.ALL_EVENTS)
        except LogAway as error:
            raise BrokerAway from error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP):
                while self.position < newest:
                    self._moved.clear()
                    await self._moved.wait()


class View:
    """What one reader sees, frame by frame."""

    def __init__(
        self,
        feed: Feed,
        replay: Replay,
        line: Line,
        *,
        watch: Watch,
        opening: list[Frame],
        since: int | None,
        start: int,
    ) -> None:
        self._feed = feed
        self._replay = replay
        self._line = line
        self.watch = watch
        self._opening = opening
        self._since = since
        self.position = start if since is None else since

    async def frames(self) -> AsyncGenerator[Frame]:
        """Give the frames in order, for ever; raises TooSlow, Over and BrokerAway."""
        for frame in self._opening:
            yield frame
        if self._since is not None:
            async with aclosing(self._missed()) as missed:
                async for frame in missed:
                    yield frame
        while True:
            frame = await self._line.next()
            if frame.position is not None:
                # What the temporary reader gave already waits in the line as well.
                if frame.position <= self.position:
                    continue
                self.position = frame.position
            yield frame

    async def _missed(self) -> AsyncGenerator[Frame]:
        """Give what came meanwhile, until the line takes over."""
        while True:
            told = self._feed.position
            async with aclosing(self._replay.read(self.watch, self.position)) as past:
                async for frame in past:
                    self.position = frame.position or self.position
                    yield frame
            # All that the tail had told before is behind us, though it was for others.
            self.position = max(self.position, told)
            if not self._line.overflowed:
                return
            # The line ran over meanwhile: read on from here, and show the code
            # again, since that may be what was dropped.
            self._line.reset()
            for frame in await self._feed.current(self.watch):
                yield frame

    def dropped(self) -> None:
        """Count that this reader was given up."""
        self._feed.dropped += 1

    def close(self) -> None:
        """Stop watching."""
        self._feed.leave(self._line, self.watch.session)
