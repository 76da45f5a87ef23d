"""A send under an `Idempotency-Key`: what was decided for it, on the record of its key.

The log forgets which keys it has seen, after two hours or a thousand messages, and
knows nothing yet of what only waits. So the record says through which session a
message goes, before it is handed over, and afterwards that it was: for as long as a
record is kept, nothing is handed over again.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from starlette.requests import Request

from events.subjects import SessionId
from gateway.problems import Problem
from gateway.remembered import Claim, Held, Record, Remembered, Secret, Told

LOOK = 0.05
"""Seconds between two looks at a record that another request writes."""

PATIENCE = 5.0
"""Seconds that a request waits for the one before it to choose a session."""


class Keyed:
    """What a send is told by the record of its key, and writes to it. Raises BrokerAway."""

    def __init__(
        self, key: str, remembered: Remembered, secret: Secret, found: Claim | Record
    ) -> None:
        """`found` is a claim where the request is the first, and else what that one wrote."""
        self.key = key
        self._remembered, self._secret = remembered, secret
        self._claim = found if isinstance(found, Claim) else None
        self._session = found.session
        self.accepted = isinstance(found, Record) and found.told is not None
        """The message was handed over before: all that is left is to tell how it stands."""

        self.in_doubt = False
        """It may have been handed over, by this request or by one whose record is gone."""

    async def chosen(self) -> SessionId | None:
        """Return the session it goes through; None if that is for this request to choose.

        Raises Problem 409 while the request before this one has not said.
        """
        give_up = time.monotonic() + PATIENCE
        while self._session is None and self._claim is None:
            held = await self._remembered.look(self._secret)
            if held is None or time.monotonic() > give_up:
                raise under_way()
            self._session = held.record.session
            if self._session is None and held.record.stage == "done":
                return None
            await asyncio.sleep(0 if self._session else LOOK)
        return None if self._session is None else SessionId.parse(self._session)

    async def choose(self, session: SessionId) -> None:
        """Write the session down, before anything is handed over to it; raises Problem 409."""
        if self._claim is not None:
            self._claim.session = session.dotted
            if not await self._remembered.renew(self._claim):
                raise under_way()

    async def amend(self, held: Held, told: Told) -> None:
        """Keep a later answer than the one that is there."""
        await self._remembered.amend(self._secret, held, told)


def under_way() -> Problem:
    """Say that the first request with a key has not ended."""
    detail = "The first request with this Idempotency-Key is still under way; ask again."
    problem = Problem(409, "under_way", detail)
    # Other conflicts do not pass by waiting; this one does.
    problem.retry_after = 1.0
    return problem


def keyed_of(request: Request) -> Keyed | None:
    """Return what the middleware found for a request; None without a key."""
    return cast("Keyed | None", getattr(request.state, "keyed", None))
