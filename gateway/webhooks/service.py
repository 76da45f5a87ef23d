"""Webhooks as a whole: while the lease is held, a delivery runs for each endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from events.lease import Lease
from events.settings import Settings
from events.traces import where
from gateway.addresses import Guarded, Reachable
from gateway.broker import Broker, BrokerAway
from gateway.directory import Directory
from gateway.sending import Sender
from gateway.tasks import end
from gateway.webhooks.bucket import Bucket
from gateway.webhooks.caller import Caller, Count
from gateway.webhooks.cipher import Cipher
from gateway.webhooks.delivery import Delivery
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.letters import Letters
from gateway.webhooks.past import Past
from gateway.webhooks.progress import Progress, key_of
from gateway.webhooks.record import Superseded
from gateway.webhooks.redrive import Redrive
from gateway.webhooks.register import Register
from gateway.webhooks.replies import Replies

log = structlog.get_logger()

LOOK = 1.0
"""Seconds between looks whether endpoints changed; what changes here is seen at once."""

LEASE = "lease"
"""The key of who posts, in the bucket of the webhooks."""

FAREWELL = 2.0
"""Seconds to record the end and to give the lease up."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What this process delivers; `delivers` is false where another one holds the lease.

    `waiting` events, `failing` sessions whose events an endpoint does not take now, and
    since each endpoint was made: `delivered`, `failures` of attempts, `dead` letters,
    events `gone` before they could be posted, `replies` sent.
    """

    delivers: bool
    endpoints: int
    waiting: int
    failing: int
    delivered: int
    failures: int
    dead: int
    gone: int
    replies: int


@dataclass(slots=True)
class _Running:
    endpoint: Endpoint
    task: asyncio.Task[None]
    delivery: Delivery | None = None


class Webhooks:
    """Endpoints, their deliveries and their dead letters. `run` is for ever."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        directory: Directory,
        sender: Sender,
        *,
        cipher: Cipher,
        count: Count,
    ) -> None:
        self._count = count
        self._settings = settings
        self._broker = broker
        self._cipher = cipher
        self.reachable = Reachable.by(settings)
        self._network = Guarded(self.reachable)
        self._bucket = Bucket(broker)
        self.letters = Letters(broker)
        self._replies = Replies(directory, sender)
        self.register = Register(broker, self._bucket, cipher, settings.webhooks_per_user)
        self.redrive = Redrive(broker, self.letters, self._replies, self.caller)
        # Twice what a try takes, and time to renew: see Lease.safe_for.
        self._lease = Lease(self._bucket, LEASE, 2 * (settings.webhook_timeout + 1))
        self._running: dict[str, _Running] = {}
        self._look = asyncio.Event()

    def caller(self, endpoint: Endpoint) -> Caller:
        """Return who posts to an endpoint. Close it."""
        seconds = self._settings.webhook_timeout
        return Caller(endpoint, self._cipher, self._network, seconds, self._count)

    def changed(self) -> None:
        """Look at the endpoints now."""
        self._look.set()

    async def forget(self, endpoint: Endpoint) -> None:
        """Post nothing more to an endpoint that was deleted; other gateways see it in a second."""
        running = self._running.pop(endpoint.id, None)
        if running is not None:
            await end(running.task)

    async def progress(self, endpoint: Endpoint) -> Progress | None:
        """Tell how far an endpoint is, by the last record; raises BrokerAway."""
        entry = await self._bucket.get(key_of(endpoint.id))
        return None if entry is None else Progress.model_validate_json(entry.raw)

    @property
    def statistics(self) -> Statistics:
        """What is being delivered, for health and metrics."""
        here = [running.delivery for running in self._running.values() if running.delivery]
        return Statistics(
            delivers=self._lease.remaining > 0,
            endpoints=len(self._running),
            waiting=sum(delivery.waiting for delivery in here),
            failing=sum(delivery.failing for delivery in here),
            delivered=sum(delivery.totals.delivered for delivery in here),
            failures=sum(delivery.totals.failures for delivery in here),
            dead=sum(delivery.totals.dead for delivery in here),
            gone=sum(delivery.totals.gone for delivery in here),
            replies=sum(delivery.totals.replies for delivery in here),
        )

    async def run(self) -> None:
        """Deliver whenever the lease is ours. Ends by cancellation only."""
        while True:
            await self._broker.until_connected()
            await self._lease.acquire()
            keeping = asyncio.create_task(self._lease.keep())
            looking = asyncio.create_task(self._keep_looking())
            try:
                await asyncio.wait({keeping, looking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                closing = asyncio.create_task(self._close(keeping, looking))
                # Whoever ends us says so again and again; this has an end of its own.
                while not closing.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.shield(closing)
            closing.result()

    async def _close(self, *tasks: asyncio.Task[None]) -> None:
        """End every delivery, record where it is, and give the lease up."""
        held = self._lease.remaining > 0
        ended = await end(*tasks)
        deliveries = [one.delivery for one in self._running.values() if one.delivery]
        await end(*(running.task for running in self._running.values()))
        self._running.clear()
        try:
            async with asyncio.timeout(FAREWELL):
                if held:
                    for delivery in deliveries:
                        await _quietly(delivery.close)
                await _quietly(self._lease.release)
        except TimeoutError:
            log.debug("webhooks.left_in_a_hurry")
        for error in ended:
            if error is not None:
                raise error

    async def _keep_looking(self) -> None:
        seen = -1
        while True:
            try:
                newest = await self.register.changed()
                if newest != seen:
                    await self._adjust(await self.register.every())
                    seen = newest
            except BrokerAway:
                await self._broker.until_connected()
            try:
                async with asyncio.timeout(LOOK):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()

    async def _adjust(self, endpoints: list[Endpoint]) -> None:
        """Run a delivery for each endpoint as it is now, and no other."""
        wanted = {endpoint.id: endpoint for endpoint in endpoints}
        for key, running in list(self._running.items()):
            if wanted.get(key) != running.endpoint:
                self._running.pop(key, None)
                await end(running.task)
                if key in wanted and running.delivery is not None:
                    await _quietly(running.delivery.close)
                    # What waits for a later try may succeed now: it was changed for that.
                    self._begin(wanted[key], at_once=True)
        for key, endpoint in wanted.items():
            if key not in self._running:
                self._begin(endpoint)

    def _begin(self, endpoint: Endpoint, at_once: bool = False) -> None:
        running = _Running(endpoint, asyncio.create_task(self._deliver(endpoint, at_once)))
        self._running[endpoint.id] = running

    async def _deliver(self, endpoint: Endpoint, at_once: bool) -> None:
        """Deliver to an endpoint, and again after whatever ends it."""
        while True:
            delivery = Delivery(
                settings=self._settings,
                endpoint=endpoint,
                past=Past(self._broker, endpoint),
                caller=self.caller(endpoint),
                letters=self.letters,
                replies=self._replies,
                bucket=self._bucket,
                lease=self._lease,
            )
            self._running[endpoint.id].delivery = delivery
            try:
                await delivery.run(at_once)
            except Superseded:
                # Deleted, or the record is another's: the next look tells.
                log.debug("webhooks.superseded", webhook=endpoint.name)
            except BrokerAway:
                await self._broker.until_connected()
            except Exception as error:  # noqa: BLE001 - one endpoint must not end the others
                log.error("webhooks.delivery_failed", webhook=endpoint.name, at=where(error))  # noqa: TRY400 - a trace would quote its text
            at_once = False
            await asyncio.sleep(LOOK)


async def _quietly(what: Callable[[], Awaitable[None]]) -> None:
    """Do what need not succeed: without it, somebody waits a little longer."""
    try:
        await what()
    except (BrokerAway, Superseded) as error:
        log.debug("webhooks.not_recorded", error=type(error).__name__)
