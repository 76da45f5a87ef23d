"""Dead letters: events that could not be delivered, kept for somebody to look at.

A letter names its event and holds nothing of it. The event stays in the log alone,
so what a tenant deletes is gone here as well.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime

from nats.js import errors as js_errors
from pydantic import BaseModel, ConfigDict, ValidationError

from events import subjects
from events.connection import AWAY
from events.log import Hole, LogAway
from gateway.broker import Broker, BrokerAway, BrokerLog

PAUSE = 0.5

AT_ONCE = 50
"""Letters that are thrown away at once."""


class Letter(BaseModel):
    """Why an event was not delivered. `position` is what it takes to try again."""

    model_config = ConfigDict(frozen=True)

    webhook: str
    user: str | None
    event_id: str
    event: str
    session: str
    position: int
    reason: str
    attempts: int
    error: str | None
    at: datetime


class Kept(BaseModel):
    """A letter and its number, under which it can be asked for."""

    model_config = ConfigDict(frozen=True)

    number: int
    letter: Letter


class Letters:
    """The dead letters of all endpoints. Every call but `bury` raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._log = BrokerLog(broker, subjects.DEAD)

    async def bury(self, endpoint_id: str, letter: Letter) -> None:
        """Keep a letter; tries until it is kept."""
        # Twice within the duplicate window is once; a list drops what is left of twins.
        once = {"Nats-Msg-Id": f"dead-{endpoint_id}-{letter.event_id}"}
        raw = letter.model_dump_json().encode()
        while True:
            try:
                await self._broker.jetstream.publish(
                    subjects.dead_events(endpoint_id), raw, headers=once
                )
                return
            except (BrokerAway, *AWAY):
                await asyncio.sleep(PAUSE)

    async def of(self, endpoint_id: str) -> list[Kept]:
        """List the letters of an endpoint in the order of their events, each event once."""
        found: dict[str, Kept] = {}
        try:
            read = self._log.read([subjects.dead_events(endpoint_id)])
            async with aclosing(read) as letters:
                async for stored in letters:
                    try:
                        letter = Letter.model_validate_json(stored.raw)
                    except ValidationError:
                        continue
                    if letter.event_id in found:
                        await self.delete(found[letter.event_id].number)
                    found[letter.event_id] = Kept(number=stored.position, letter=letter)
        except (LogAway, Hole) as error:
            raise BrokerAway from error
        return sorted(found.values(), key=lambda kept: kept.letter.position)

    async def one(self, endpoint_id: str, number: int) -> Kept | None:
        """Find a letter of an endpoint; None if it is not there, or another endpoint's."""
        try:
            stored = await self._broker.jetstream.get_msg(subjects.DEAD, seq=number)
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        if stored.subject != subjects.dead_events(endpoint_id):
            return None
        return Kept(number=number, letter=Letter.model_validate_json(stored.data or b""))

    async def clear(self, endpoint_id: str) -> None:
        """Throw all letters of an endpoint away that are there now."""
        letters = await self.of(endpoint_id)
        for start in range(0, len(letters), AT_ONCE):
            some = letters[start : start + AT_ONCE]
            await asyncio.gather(*(self.delete(kept.number) for kept in some))

    async def delete(self, number: int) -> None:
        """Throw a letter away; it is no error if it is gone already."""
        try:
            await self._broker.jetstream.delete_msg(subjects.DEAD, number)
        except js_errors.NotFoundError:
            return
        except js_errors.APIError as error:
            if error.err_code != NO_MESSAGE:
                raise BrokerAway from error
        except AWAY as error:
            raise BrokerAway from error


NO_MESSAGE = 10057
"""The server's word for a message that is not there, or not any more."""
