"""Dead letters are delivered again: at once, while whoever asked waits for the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from gateway.broker import Broker
from gateway.webhooks.caller import Caller, NotTaken, Taken
from gateway.webhooks.endpoint import Endpoint
from gateway.webhooks.letters import Kept, Letters
from gateway.webhooks.past import Past
from gateway.webhooks.replies import EVENT, Replies

AT_ONCE = 8
LONGEST = 25.0
"""Seconds for which letters are begun; what is left waits for the next call."""


@dataclass(frozen=True, slots=True)
class Driven:
    """How a letter went. `outcome`: delivered, failed, gone (from the log) or left."""

    letter: Kept
    outcome: str
    error: str | None = None


class Redrive:
    """Raises BrokerAway; then what was not told of is still a letter."""

    def __init__(
        self,
        broker: Broker,
        letters: Letters,
        replies: Replies,
        caller: Callable[[Endpoint], Caller],
    ) -> None:
        self._broker = broker
        self._letters = letters
        self._replies = replies
        self._caller = caller

    async def drive(self, endpoint: Endpoint, letters: list[Kept]) -> list[Driven]:
        """Deliver letters in the order of their events; a session stops at its first failure.

        One that is delivered, or whose event is gone, is thrown away; another stays.
        """
        past, caller = Past(self._broker, endpoint), self._caller(endpoint)
        room = asyncio.Semaphore(AT_ONCE)
        until = asyncio.get_running_loop().time() + LONGEST

        async def lane(waiting: list[Kept]) -> list[Driven]:
            driven: list[Driven] = []
            async with room:
                for kept in waiting:
                    over = asyncio.get_running_loop().time() > until
                    if over or any(one.outcome == "failed" for one in driven):
                        driven.append(Driven(kept, "left"))
                    else:
                        driven.append(await self._one(endpoint, past, caller, kept))
            return driven

        def session(kept: Kept) -> str:
            return kept.letter.session

        def position(kept: Kept) -> int:
            return kept.letter.position

        ordered = sorted(sorted(letters, key=position), key=session)
        try:
            lanes = [lane(list(group)) for _, group in groupby(ordered, key=session)]
            done = await asyncio.gather(*lanes, return_exceptions=True)
        finally:
            await caller.close()
        driven: list[Driven] = []
        for one in done:
            if isinstance(one, BaseException):
                raise one
            driven += one
        return driven

    async def _one(self, endpoint: Endpoint, past: Past, caller: Caller, kept: Kept) -> Driven:
        letter = kept.letter
        due = await past.at(letter.position)
        if due is None:
            await self._letters.delete(kept.number)
            return Driven(kept, "gone")
        match await caller.post(letter.event_id, due.body):
            case NotTaken() as not_taken:
                return Driven(kept, "failed", not_taken.error)
            case Taken() as taken:
                if taken.reply is not None and due.name == EVENT:
                    await self._replies.send(endpoint, due.told, taken.reply)
                await self._letters.delete(kept.number)
                return Driven(kept, "delivered")
