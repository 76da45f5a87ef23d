"""Delivery to one endpoint: a position of its own in the log, and a courier for each session.

Why no durable consumer: one that redelivers keeps no order, and one that keeps order
stands still for everybody when one session fails. Here the log itself is the queue.
The record says how far the reading is, and for each lane that has something waiting,
its first event. After a crash at most what was delivered since the last record is
delivered again, under the same ids and in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from datetime import timedelta

from events.backoff import Backoff
from events.lease import Lease
from events.log import Hole, LogAway
from events.settings import Settings
from events.subjects import SessionId
from gateway.tasks import end
from gateway.webhooks.bucket import Bucket
from gateway.webhooks.caller import Caller
from gateway.webhooks.courier import Courier, Route
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.lane import Lane, Patience
from gateway.webhooks.letters import Letters
from gateway.webhooks.past import Past
from gateway.webhooks.progress import Totals
from gateway.webhooks.record import SAVE, Record
from gateway.webhooks.replies import Replies


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
    """Delivers to one endpoint while the lease is held: a courier for each lane."""

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
        self._past = past
        self._caller = caller
        self._record = Record(endpoint, bucket)
        self._route = Route(
            endpoint=endpoint,
            patience=patience(settings),
            timeout=settings.webhook_timeout,
            past=past,
            caller=caller,
            letters=letters,
            replies=replies,
            lease=lease,
            record=self._record,
        )
        self._couriers: dict[SessionId, Courier] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def totals(self) -> Totals:
        """What was done for the endpoint since it was created."""
        return self._record.totals

    @property
    def waiting(self) -> int:
        """How many events wait here; of a lane that is behind, more wait in the log."""
        return sum(len(lane.waiting) for lane in self._record.lanes.values())

    @property
    def failing(self) -> int:
        """How many sessions' events are not taken."""
        return sum(lane.failing for lane in self._record.lanes.values())

    async def run(self, at_once: bool = False) -> None:
        """Deliver until cancelled; `at_once`: do not wait for what is due later.

        Raises Superseded, and BrokerAway at the beginning.
        """
        for lane in await self._record.open():
            if at_once:
                lane.due = None
            self._open(lane)
        self._start(self._follow())
        self._start(self._record.keep_saving(self._past))
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
        await self._record.save()

    def _start(self, what: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(what))

    async def _follow(self) -> None:
        record = self._record
        while True:
            try:
                if await self._past.end() < record.position:
                    # A log that never came so far is another log.
                    record.begin_again()
                async with aclosing(self._past.follow(record.position)) as events:
                    async for seen in events:
                        record.position = seen.position
                        record.changed()
                        if seen.session is not None:
                            self._add(seen.session, seen.position)
            except (LogAway, Hole):
                await self._past.until_there()

    def _add(self, session: SessionId, position: int) -> None:
        courier = self._couriers.get(session) or self._open(Lane(session))
        courier.add(position)

    def _open(self, lane: Lane) -> Courier:
        courier = Courier(self._route, lane)
        self._record.lanes[lane.session] = lane
        self._couriers[lane.session] = courier
        self._start(self._work(lane.session, courier))
        return courier

    async def _work(self, session: SessionId, courier: Courier) -> None:
        await courier.run()
        del self._record.lanes[session], self._couriers[session]
