"""Steady load: clients that send, one chat each and in order, and friends that write.

A client asks again with the same Idempotency-Key until it was told yes or no, and
only then begins its chat's next message: so the order of acceptance is a promise.
What it could not begin meanwhile it begins at once then, so that an outage takes
nothing off the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from events.subjects import SessionId
from tests.faults.evidence import Answer, Ledger, Sent, Written
from tests.faults.site import Site
from tests.simulator.phone import PhoneError

PATIENCE = 15.0
"""Seconds until a client takes an answer for lost."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages a second over all sessions, and chats in each."""

    sends: float
    incoming: float
    chats: int = 2


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a client took to hear the last word on a send, from when it first asked."""

    began: float
    """Unix seconds."""

    took: float
    """Seconds, asking again included."""


@dataclass
class Load:
    """Runs from `begin` until `finish`; what it knows is in the ledger."""

    site: Site
    rates: Rates
    dice: random.Random
    ledger: Ledger
    name: str = "load"
    words: Counter[str] = field(default_factory=Counter[str])
    flowed: dict[str, float] = field(default_factory=dict[str, float])
    waits: list[Wait] = field(default_factory=list["Wait"])
    _hushed: set[SessionId] = field(default_factory=set[SessionId])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _asked: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))

    def begin(self) -> None:
        """Start a client and a friend for each chat."""
        chats = [
            (session, f"1666{number:03d}{chat:04d}")
            for number, session in enumerate(self.site.sessions)
            for chat in range(self.rates.chats)
        ]
        for session, friend in chats:
            of_chat = random.Random(self.dice.random())
            sending = self._send(session, friend, of_chat, self.rates.sends / len(chats))
            writing = self._write(session, friend, of_chat, self.rates.incoming / len(chats))
            self._tasks += [asyncio.create_task(sending), asyncio.create_task(writing)]

    def check(self) -> None:
        """Raise what ended a client or a friend before its time."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def finish(self, deadline: float) -> None:
        """Begin nothing more, and settle what is unknown; what is still not is left unknown."""
        self._over.set()
        _, late = await asyncio.wait(self._tasks, timeout=deadline)
        for task in late:
            task.cancel()
        for task in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(task, Exception):
                raise task

    @contextlib.contextmanager
    def hushed(self, session: SessionId) -> Iterator[None]:
        """Have no friend write meanwhile."""
        self._hushed.add(session)
        try:
            yield
        finally:
            self._hushed.discard(session)

    async def flows(
        self, sessions: list[SessionId], since: float, seconds: float, *, every: bool = False
    ) -> bool:
        """Wait until some (or each) of these has sent again; False if that was not in time."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            self.check()
            flowing = [self.flowed.get(session.joined, 0) > since for session in sessions]
            if all(flowing) if every else any(flowing):
                return True
            await asyncio.sleep(0.05)
        return False

    # --- sending --------------------------------------------------------------

    async def _send(
        self, session: SessionId, friend: str, dice: random.Random, rate: float
    ) -> None:
        due = time.monotonic()
        while True:
            due += dice.expovariate(rate)
            if await self._pause(max(0.0, due - time.monotonic())):
                return
            key = f"{self.name}-{next(self._numbers)}"
            send = self.ledger.send(key, session.dotted, friend)
            at, began = time.time(), time.monotonic()
            while await self._ask(session, send) is Answer.UNKNOWN:
                await asyncio.sleep(dice.uniform(0.2, 0.8))
            self.waits.append(Wait(at, time.monotonic() - began))

    async def _ask(self, session: SessionId, send: Sent) -> Answer:
        body = {"sessionId": session.joined, "to": send.chat, "message": send.text}
        once = {"Idempotency-Key": send.key}
        # By each gateway in turn: who asks again asks another one, where there is one.
        self._asked += 1
        door = self.site.doors[self._asked % len(self.site.doors)]
        try:
            answer = await door.post(
                "/api/messages/send", json=body, headers=once, timeout=PATIENCE
            )
        except httpx.HTTPError as error:
            send.told(Answer.UNKNOWN, type(error).__name__)
        else:
            send.told(*_read(answer))
            if answer.status_code == 200:
                self.flowed[session.joined] = time.monotonic()
        self.words[send.words[-1]] += 1
        return send.answer

    async def _pause(self, seconds: float) -> bool:
        """Wait; True if it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        return self._over.is_set()

    # --- being written to -------------------------------------------------------

    async def _write(
        self, session: SessionId, friend: str, dice: random.Random, rate: float
    ) -> None:
        number = self.site.sessions[session]
        while not await self._pause(dice.expovariate(rate)):
            if session in self._hushed:
                continue
            text = f"hi-{self.name}-{next(self._numbers)}"
            with contextlib.suppress(PhoneError):
                at = time.time()
                held = await self.site.phone.incoming(number, friend, text)
                self.ledger.wrote(Written(held, session.dotted, friend, text, at))


def _read(answer: httpx.Response) -> tuple[Answer, str]:
    """Take an answer at its word."""
    status = answer.status_code
    if status in {200, 202}:
        return Answer.ACCEPTED, str(status)
    said: dict[str, object] = {}
    with contextlib.suppress(ValueError):
        said = answer.json()
    if "messageStatus" in said:
        # A named outcome: it was accepted before, and this is how it ended.
        return Answer.ACCEPTED, str(said["messageStatus"])
    word = f"{status} {str(said.get('error', ''))[:40]}"
    return (Answer.UNKNOWN if status >= 500 else Answer.REFUSED), word
