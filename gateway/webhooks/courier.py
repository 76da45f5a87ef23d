"""The courier of one lane: its events are posted one by one, in order, again while they fail."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from events.clock import utc_now
from events.lease import Lease
from events.log import Hole, LogAway
from gateway.broker import BrokerAway
from gateway.webhooks.caller import Caller, NotTaken, Taken
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.lane import Lane, Patience
from gateway.webhooks.letters import Letter, Letters
from gateway.webhooks.past import Due, Past
from gateway.webhooks.record import Record
from gateway.webhooks.replies import EVENT, Replies

log = structlog.get_logger()

AT_ONCE = 16
"""Tries under way to one endpoint at a time; and those of lanes that fail, below."""

FAILING_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Route:
    """What the couriers of one endpoint share. `timeout`: seconds that a try takes at most."""

    endpoint: Endpoint
    patience: Patience
    timeout: float
    past: Past
    caller: Caller
    letters: Letters
    replies: Replies
    lease: Lease
    record: Record
    well: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    ill: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FAILING_AT_ONCE))


class Courier:
    """Works on one lane until nothing waits in it."""

    def __init__(self, route: Route, lane: Lane) -> None:
        self._route = route
        self._lane = lane
        self._too_much = asyncio.Event()

    def add(self, position: int) -> None:
        """Have an event wait at the end of the lane."""
        self._lane.add(position)
        if self._holds_too_much:
            self._too_much.set()

    async def run(self) -> None:
        """Deliver or bury all that waits."""
        while self._lane.waiting:
            await self._read_on()
            await self._make_room()
            if await self._is_due():
                await self._try()

    @property
    def _holds_too_much(self) -> bool:
        return len(self._lane.waiting) > self._route.patience.waiting

    async def _make_room(self) -> None:
        """Bury the oldest of what is too much to wait, whether the endpoint fails or is slow."""
        # Never while a try is under way: what may be taken any moment is no dead letter.
        while self._holds_too_much:
            await self._bury("overflow")

    async def _is_due(self) -> bool:
        """Wait until the next try is due, or (False) too much waits meanwhile."""
        due = self._lane.due
        if due is None:
            return True
        self._too_much.clear()
        # What came between the last look and this one has set nothing.
        if self._holds_too_much:
            return False
        try:
            async with asyncio.timeout(max(0.0, (due - utc_now()).total_seconds())):
                await self._too_much.wait()
        except TimeoutError:
            return True
        return False

    async def _read_on(self) -> None:
        """Read from the log what waits behind the last event that is known here."""
        lane, past = self._lane, self._route.past
        while lane.behind:
            covered = self._route.record.position
            try:
                behind = past.behind(lane.session, lane.waiting[-1], covered)
                async with aclosing(behind) as events:
                    async for position in events:
                        lane.waiting.append(position)
                        await self._make_room()
            except (LogAway, Hole):
                await past.until_there()
                continue
            lane.behind = lane.newest > covered

    async def _try(self) -> None:
        lane, route = self._lane, self._route
        due = await self._read()
        if due is None:
            self._gone()
            return
        async with route.ill if lane.failing else route.well:
            # Whoever might hold the lease next must not begin before this try has ended.
            await route.lease.safe_for(route.timeout)
            outcome = await route.caller.post(due.told.envelope.id, due.body)
        match outcome:
            case Taken():
                await self._taken(due, outcome)
            case NotTaken():
                await self._not_taken(due, outcome)

    async def _read(self) -> Due | None:
        """Read the first event; None if it is gone from the log."""
        past = self._route.past
        while True:
            try:
                return await past.at(self._lane.waiting[0])
            except BrokerAway:
                await past.until_there()

    async def _taken(self, due: Due, taken: Taken) -> None:
        lane, route = self._lane, self._route
        replied = None
        if taken.reply is not None and due.name == EVENT:
            # Before the event counts as delivered: after a crash it comes again, and
            # so does the reply, under the same key.
            replied = await route.replies.send(route.endpoint, due.told, taken.reply)
            route.record.totals.replies += 1
        if lane.failing:
            log.info("webhooks.recovered", webhook=route.endpoint.name, session=due.session)
        route.record.totals.delivered += 1
        attempts, code = lane.attempts + 1, taken.status
        lane.taken()
        route.record.note(lane, due, "delivered", attempts=attempts, replied=replied, code=code)

    async def _not_taken(self, due: Due, not_taken: NotTaken) -> None:
        lane, route = self._lane, self._route
        now = utc_now()
        error, code = not_taken.error, not_taken.status
        lane.failed(error, not_taken.later, now, route.patience)
        route.record.totals.failures += 1
        route.record.note(lane, due, "failing", attempts=lane.attempts, error=error, code=code)
        log.warning(
            "webhooks.not_taken",
            webhook=route.endpoint.name,
            session=due.session,
            failures=lane.failures,
            error=error,
        )
        while lane.waiting:
            old = await self._read()
            if old is not None and not lane.is_hopeless(old.stored_at, now, route.patience):
                return
            await self._bury("gave_up")

    async def _bury(self, reason: str) -> None:
        """Make the first event of the lane a dead letter."""
        lane, route = self._lane, self._route
        due = await self._read()
        if due is None:
            self._gone()
            return
        letter = Letter(
            webhook=route.endpoint.name,
            user=route.endpoint.user,
            event_id=due.told.envelope.id,
            event=due.name,
            session=lane.session.dotted,
            position=lane.waiting[0],
            reason=reason,
            attempts=lane.attempts,
            error=lane.error,
            at=utc_now(),
        )
        await route.letters.bury(route.endpoint.id, letter)
        route.record.totals.dead += 1
        log.warning(
            "webhooks.dead", webhook=route.endpoint.name, session=due.session, reason=reason
        )
        attempts = lane.attempts
        lane.passed()
        route.record.note(lane, due, "dead", attempts=attempts, error=lane.error)

    def _gone(self) -> None:
        """Pass over the first event: it is not in the log any more."""
        self._route.record.totals.gone += 1
        self._lane.passed()
        self._route.record.changed()
