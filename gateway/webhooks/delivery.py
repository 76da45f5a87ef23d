"""Delivery to one endpoint: a durable position over the log, and a lane for each session.

Why a position of our own and no durable consumer: a consumer that redelivers keeps
no order, and one that keeps order stands still for everybody when one session fails.
Here the log itself is the queue. The record in the bucket says how far the reading
is, and for each lane that has something waiting, its first event; it is written
whole, and only over what was read, so a gateway that lost its lease cannot move it.
After a crash at most what was delivered since the last record is delivered again,
under the same ids and in the same order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import aclosing
from datetime import timedelta

import structlog

from events.backoff import Backoff
from events.clock import utc_now
from events.envelope import new_id
from events.log import Hole, LogAway
from events.settings import Settings
from events.subjects import SessionId
from gateway.broker import BrokerAway
from gateway.frames import Away
from gateway.tasks import end
from gateway.webhooks.bucket import Bucket, Moved
from gateway.webhooks.caller import Caller, NotTaken, Taken
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.lane import Lane, Patience, Waiting
from gateway.webhooks.lease import Lease
from gateway.webhooks.letters import Letter, Letters
from gateway.webhooks.past import Due, Past
from gateway.webhooks.progress import RECENT, Delivered, Progress, Stopped, Totals, key_of
from gateway.webhooks.replies import EVENT, Replies

log = structlog.get_logger()

AT_ONCE = 16
"""Tries under way to one endpoint at a time; and those of lanes that fail, below."""

FAILING_AT_ONCE = 4

SAVE = 0.5
"""Seconds between two records."""


class Superseded(Exception):
    """The endpoint is gone, or another gateway delivers to it now."""


def patience(settings: Settings) -> Patience:
    """Read how long lanes are tried for."""
    return Patience(
        backoff=Backoff(
            settings.webhook_backoff_first,
            settings.webhook_backoff_max,
            settings.backoff_jitter,
        ),
        longest=timedelta(hours=settings.webhook_retry_hours),
        waiting=settings.webhook_waiting,
    )


class Delivery:
    """Delivers to one endpoint while the lease is held."""

    def __init__(
        self,
        *,
        settings: Settings,
        endpoint: Endpoint,
        past: Past,
        caller: Caller,
        letters: Letters,
        replies: Replies,
        bucket: Bucket,
        lease: Lease,
    ) -> None:
        self.endpoint = endpoint
        self._patience = patience(settings)
        self._timeout = settings.webhook_timeout
        self._past = past
        self._caller = caller
        self._letters = letters
        self._replies = replies
        self._bucket = bucket
        self._lease = lease
        self._me = new_id()
        self._revision = 0
        self._position = 0
        self._away = Away()
        self.totals = Totals()
        self._recent: deque[Delivered] = deque(maxlen=RECENT)
        self.lanes: dict[SessionId, Lane] = {}
        self._news: dict[SessionId, asyncio.Event] = {}
        self._well = asyncio.Semaphore(AT_ONCE)
        self._ill = asyncio.Semaphore(FAILING_AT_ONCE)
        self._unsaved = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many events wait here; of a lane that is behind, more wait in the log."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    async def run(self, at_once: bool = False) -> None:
        """Deliver until cancelled; `at_once`: do not wait for what is due later.

        Raises Superseded, and BrokerAway at the beginning.
        """
        await self._open(at_once)
        self._start(self._follow())
        self._start(self._save_now_and_then())
        try:
            while True:
                ended, _ = await asyncio.wait(
                    self._tasks, timeout=SAVE, return_when=asyncio.FIRST_COMPLETED
                )
                self._tasks -= ended
                for task in ended:
                    task.result()
        finally:
            # One that ends may have started another.
            while self._tasks:
                ending = set(self._tasks)
                await end(*ending)
                self._tasks -= ending
            await self._caller.close()

    async def close(self) -> None:
        """Record the end. Raises Superseded, BrokerAway."""
        await self._save()

    def _start(self, what: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(what))

    # --- the record -------------------------------------------------------------------

    async def _open(self, at_once: bool) -> None:
        entry = await self._bucket.get(key_of(self.endpoint.id))
        if entry is None:
            raise Superseded
        held = Progress.model_validate_json(entry.raw)
        self._revision = entry.revision
        self._position = held.position
        self._away = Away(SessionId.parse(dotted) for dotted in held.away)
        self.totals = held.totals
        self._recent.extend(held.recent)
        for lane in held.opened():
            if at_once:
                lane.due = None
            self._run(lane)

    def _progress(self) -> Progress:
        return Progress(
            position=self._position,
            writer=self._me,
            away=tuple(sorted(session.dotted for session in self._away.sessions)),
            lanes={s.dotted: Stopped.of(lane) for s, lane in self.lanes.items() if lane.waiting},
            recent=tuple(self._recent),
            totals=self.totals,
        )

    async def _save_now_and_then(self) -> None:
        while True:
            await self._unsaved.wait()
            try:
                await self._save()
            except BrokerAway:
                await self._past.until_there()
            await asyncio.sleep(SAVE)

    async def _save(self) -> None:
        key = key_of(self.endpoint.id)
        while self._unsaved.is_set():
            self._unsaved.clear()
            try:
                raw = self._progress().encoded()
                self._revision = await self._bucket.write(key, raw, self._revision)
            except BrokerAway:
                self._unsaved.set()
                raise
            except Moved:
                # A write of our own may have landed though its answer was lost.
                self._unsaved.set()
                entry = await self._bucket.get(key)
                if entry is None or Progress.model_validate_json(entry.raw).writer != self._me:
                    raise Superseded from None
                self._revision = entry.revision

    # --- reading ------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                if await self._past.end() < self._position:
                    # A log that never came so far is another log.
                    self._position, self._away = 0, Away()
                async with aclosing(self._past.follow(self._position, self._away)) as events:
                    async for seen in events:
                        self._position = seen.position
                        self._unsaved.set()
                        if seen.session is not None and seen.waiting is not None:
                            self._add(seen.session, seen.waiting)
            except (LogAway, Hole):
                await self._past.until_there()

    def _add(self, session: SessionId, waiting: Waiting) -> None:
        lane = self.lanes.get(session)
        if lane is None:
            lane = Lane(session)
            lane.add(waiting, self._patience.waiting)
            self._run(lane)
        else:
            lane.add(waiting, self._patience.waiting)
            if lane.failing and len(lane.waiting) > self._patience.waiting:
                self._news[session].set()

    def _run(self, lane: Lane) -> None:
        self.lanes[lane.session] = lane
        self._news[lane.session] = asyncio.Event()
        self._start(self._work(lane))

    # --- one lane -------------------------------------------------------------------------

    async def _work(self, lane: Lane) -> None:
        while lane.waiting:
            # A lane that fails may hold no more than it may, so all of it must be known.
            if lane.behind and (lane.failing or len(lane.waiting) == 1):
                await self._read_on(lane)
            while lane.failing and len(lane.waiting) > self._patience.waiting:
                await self._bury(lane, "overflow")
            if await self._is_due(lane):
                await self._try(lane)
        del self.lanes[lane.session], self._news[lane.session]

    async def _is_due(self, lane: Lane) -> bool:
        """Wait until the next try is due, or (False) too much waits meanwhile."""
        if lane.due is None:
            return True
        news = self._news[lane.session]
        news.clear()
        delay = (lane.due - utc_now()).total_seconds()
        # What came between the last look and this one has set nothing.
        if len(lane.waiting) > self._patience.waiting:
            return False
        try:
            async with asyncio.timeout(max(0.0, delay)):
                await news.wait()
        except TimeoutError:
            return True
        return False

    async def _read_on(self, lane: Lane) -> None:
        """Read from the log what waits behind the last event that is known here."""
        while lane.behind:
            covered = self._position
            last = lane.waiting[-1]
            try:
                behind = self._past.behind(lane.session, last, covered)
                async with aclosing(behind) as events:
                    async for waiting in events:
                        if len(lane.waiting) >= self._patience.waiting:
                            if not lane.failing:
                                return
                            await self._bury(lane, "overflow")
                        lane.waiting.append(waiting)
            except (LogAway, Hole):
                await self._past.until_there()
                continue
            lane.behind = lane.newest > covered

    async def _try(self, lane: Lane) -> None:
        first = lane.waiting[0]
        due = await self._read(lane.session, first)
        if due is None:
            self.totals.gone += 1
            lane.passed()
            self._unsaved.set()
            return
        async with self._ill if lane.failing else self._well:
            # Whoever might hold the lease next must not begin before this try has ended.
            await self._lease.safe_for(self._timeout)
            outcome = await self._caller.post(due.told.envelope.id, due.body)
        match outcome:
            case Taken():
                await self._taken(lane, due, outcome)
            case NotTaken():
                await self._not_taken(lane, due, outcome)
        self._unsaved.set()

    async def _read(self, session: SessionId, waiting: Waiting) -> Due | None:
        while True:
            try:
                return await self._past.at(session, waiting)
            except BrokerAway:
                await self._past.until_there()

    async def _taken(self, lane: Lane, due: Due, taken: Taken) -> None:
        replied = None
        if taken.reply is not None and due.name == EVENT:
            # Before the event counts as delivered: after a crash it comes again, and
            # so does the reply, under the same key.
            replied = await self._replies.send(self.endpoint, due.told, taken.reply)
            self.totals.replies += 1
        self.totals.delivered += 1
        self._note(
            lane, due, "delivered", attempts=lane.attempts + 1, replied=replied, code=taken.status
        )
        if lane.failing:
            log.info("webhooks.recovered", webhook=self.endpoint.name, session=due.session)
        lane.taken()

    async def _not_taken(self, lane: Lane, due: Due, not_taken: NotTaken) -> None:
        now = utc_now()
        lane.failed(not_taken.error, not_taken.later, now, self._patience)
        self.totals.failures += 1
        self._note(
            lane,
            due,
            "failing",
            attempts=lane.attempts,
            error=not_taken.error,
            code=not_taken.status,
        )
        log.warning(
            "webhooks.not_taken",
            webhook=self.endpoint.name,
            session=due.session,
            failures=lane.failures,
            error=not_taken.error,
        )
        while lane.waiting:
            if lane.behind:
                await self._read_on(lane)
            old = await self._read(lane.session, lane.waiting[0])
            if old is not None and not lane.is_hopeless(old.stored_at, now, self._patience):
                return
            await self._bury(lane, "gave_up")

    async def _bury(self, lane: Lane, reason: str) -> None:
        """Make the first event of a lane a dead letter."""
        first = lane.waiting[0]
        due = await self._read(lane.session, first)
        if due is None:
            self.totals.gone += 1
            lane.passed()
            return
        letter = Letter(
            webhook=self.endpoint.name,
            user=self.endpoint.user,
            event_id=due.told.envelope.id,
            event=due.name,
            session=lane.session.dotted,
            position=first.position,
            away=first.away,
            reason=reason,
            attempts=lane.attempts,
            error=lane.error,
            at=utc_now(),
        )
        await self._letters.bury(self.endpoint.id, letter)
        self.totals.dead += 1
        self._note(lane, due, "dead", attempts=lane.attempts, error=lane.error)
        log.warning("webhooks.dead", webhook=self.endpoint.name, session=due.session, reason=reason)
        lane.passed()
        self._unsaved.set()

    def _note(
        self,
        lane: Lane,
        due: Due,
        status: str,
        *,
        attempts: int,
        error: str | None = None,
        code: int | None = None,
        replied: str | None = None,
    ) -> None:
        event_id = due.told.envelope.id
        # An event that is tried again and again is one delivery, at its newest.
        for held in list(self._recent):
            if held.id == event_id:
                self._recent.remove(held)
        self._recent.append(
            Delivered(
                id=event_id,
                position=due.told.position,
                event=due.name,
                session=lane.session.joined,
                status=status,
                attempts=attempts,
                error=error,
                code=code,
                replied=replied,
                at=utc_now(),
            )
        )
