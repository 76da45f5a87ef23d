"""Messages of a JetStream consumer, asked for many at a time and taken as they come.

nats-py's own `fetch` asks twice for each batch, and at a trickle each message is a
batch: asking was most of what following the log cost. Here one request stays open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from weakref import WeakKeyDictionary

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js import errors as js_errors

OVER = "408"
"""Status of a request that was open for as long as it was to be."""

FULL = "exceeds maxbytes"
"""What the broker says when the next message would bring more bytes than were asked for."""

BYTES = 2_000_000
"""Bytes that one request brings at most, more than the largest message of any stream.

Without it the broker hands out all that was asked for at once, and cuts a connection
for which more than `max_pending` waits.
"""

FEW = 64
"""Messages of a request that waits for what is yet to come: everybody gets those at once."""

TURNS = 16
"""Requests for what is there already, at once on one connection."""

SHORTEST = 0.1
"""Seconds that a request stays open at least; without an end it would stay for ever."""

HEARTBEAT = "100"
NOBODY = "503"


class Pull:
    """One consumer that is pulled from. `open` it, and `close` it."""

    def __init__(self, js: JetStreamContext, stream: str, consumer: str, many: int) -> None:
        """Ask for `many` messages at a time where it is this one's turn, and else for few."""
        # The context keeps to itself the connection that it was made from.
        self._client: Client = js._nc  # pyright: ignore[reportPrivateUsage]
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._many = many
        self._inbox = self._client.new_inbox()
        self._subscription: Subscription | None = None
        self._arrived: list[Msg] = []
        self._open = 0
        self._turn: asyncio.Semaphore | None = None
        self._lapse: asyncio.TimerHandle | None = None
        self._refused: js_errors.Error | None = None
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Listen for what the broker will deliver. Raises what nats-py raises."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)

    async def close(self) -> None:
        """Listen no more."""
        self._give_turn_back()
        if self._subscription is not None:
            with contextlib.suppress(nats_errors.Error, OSError):
                await self._subscription.unsubscribe()

    async def turn(self) -> None:
        """Wait until this one may ask for much, and have that until it has come."""
        if self._turn is None and not self._open and not self._arrived:
            turns = _TURNS.setdefault(self._client, asyncio.Semaphore(TURNS))
            await turns.acquire()
            self._turn = turns

    def _give_turn_back(self) -> None:
        turn, self._turn = self._turn, None
        if self._lapse is not None:
            self._lapse.cancel()
        if turn is not None:
            turn.release()

    def wake(self) -> None:
        """End a wait: whoever waits has to look at something else."""
        self._news.set()

    async def next(self, seconds: float) -> list[Msg]:
        """Return what has come, waiting for the first; nothing if it was woken or time is over.

        Raises nats-py's ServiceUnavailableError while nobody serves the consumer, and
        APIError when the broker refuses for good.
        """
        if not self._arrived:
            if not self._open:
                await self._ask(seconds)
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if self._refused is not None and not self._arrived:
            refused, self._refused = self._refused, None
            raise refused
        arrived, self._arrived = self._arrived, []
        return arrived

    @property
    def holds(self) -> bool:
        """Whether something has come that was not taken yet."""
        return bool(self._arrived)

    def forget(self) -> None:
        """Ask anew next time: the broker may have lost the request."""
        self._open = 0
        self._give_turn_back()

    async def _ask(self, seconds: float) -> None:
        seconds = max(SHORTEST, seconds)
        self._open = self._many if self._turn is not None else min(FEW, self._many)
        if self._turn is not None:
            # A broker that goes away says nothing, and whoever reads may be slow to come back.
            loop = asyncio.get_running_loop()
            self._lapse = loop.call_later(seconds + 1, self._give_turn_back)
        wanted = {"batch": self._open, "max_bytes": BYTES, "expires": int(1e9 * seconds)}
        await self._client.publish(self._subject, json.dumps(wanted).encode(), self._inbox)

    async def _take(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            self._open = max(0, self._open - 1)
            self._arrived.append(message)
        elif status == HEARTBEAT:
            return
        else:
            self._open = 0
            told = (message.headers or {}).get("Description", "")
            if status == NOBODY:
                self._refused = js_errors.ServiceUnavailableError()
            elif status != OVER and FULL not in told.lower():
                self._refused = js_errors.APIError(code=int(status), description=told)
        if not self._open:
            self._give_turn_back()
        self._news.set()


_TURNS: WeakKeyDictionary[Client, asyncio.Semaphore] = WeakKeyDictionary()
