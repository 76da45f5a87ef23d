"""What befalls a service on an ordinary bad day, while everybody works."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from itertools import count

from events.subjects import SessionId
from tests.faults.processes import kill
from tests.faults.site import Site
from tests.load.crowd import Crowd
from tests.load.diary import Outage

AT_ONCE = 15
"""Messages that a greedy user sends in one moment; ten a second are allowed."""

BACK = 60.0
"""Seconds that a session without its browser gets to be ready again."""

LINKED = 60.0
"""Seconds that a session which is created meanwhile gets to be ready."""


class Trouble:
    """Makes all of it, by the plan."""

    def __init__(self, site: Site, crowd: Crowd) -> None:
        self._site, self._crowd, self._plan = site, crowd, crowd.plan
        self._dice = random.Random(self._plan.users)
        self._sessions = [self._plan.session(number) for number in range(self._plan.users)]

    def work(self) -> list[Awaitable[None]]:
        """Return what happens, each for as long as the load lasts."""
        plan = self._plan
        works: list[Awaitable[None]] = [self._kills(), self._greed()]
        works += [self._bursts()] if plan.bursts else []
        works += [self._churn()] if plan.churn else []
        return works

    async def _bursts(self) -> None:
        fifth = max(1, len(self._sessions) // 5)
        while True:
            await asyncio.sleep(self._plan.bursts)
            chosen = self._dice.sample(self._sessions, fifth)
            await asyncio.gather(*(self._crowd.send(session) for session in chosen))

    async def _greed(self) -> None:
        """Have the greedy users exceed their quota, one after the other."""
        greedy = self._sessions[: self._plan.limited]
        async for session in self._spread(greedy):
            self._crowd.exceeds(session)
            await asyncio.gather(*(self._crowd.send(session) for _ in range(AT_ONCE)))

    async def _kills(self) -> None:
        # Nobody whose quota is exceeded: what comes of the one would hide in the other.
        others = self._sessions[self._plan.limited :] or self._sessions
        async for session in self._spread(
            self._dice.sample(others, min(self._plan.killed, len(others)))
        ):
            await self._kill(session)

    async def _spread(self, sessions: Sequence[SessionId]) -> AsyncIterator[SessionId]:
        """Give sessions one after the other, evenly over the time."""
        began = time.monotonic()
        for number, session in enumerate(sessions, 1):
            due = began + self._plan.duration * number / (len(sessions) + 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield session

    async def _kill(self, session: SessionId) -> None:
        diary, ears = self._crowd.diary, self._crowd.ears
        browsers = await asyncio.to_thread(self._site.browsers, session)
        outage = Outage(session.joined, diary.now)
        diary.outages.append(outage)
        for browser in browsers:
            kill(browser)
        gone = await ears.until(session.joined, {"disconnected", "reconnecting"}, BACK)
        if gone and await ears.until(session.joined, {"ready"}, BACK):
            outage.until = diary.now
        else:
            diary.troubles.append(f"{session.joined} is not back {BACK:.0f} s after its kill")

    async def _churn(self) -> None:
        for number in count(1):
            await self._come_and_go(SessionId(f"guest{number}", "bot"))
            await asyncio.sleep(self._plan.churn)

    async def _come_and_go(self, session: SessionId) -> None:
        crowd = self._crowd
        missing = await crowd.link([session], LINKED)
        if missing:
            crowd.diary.troubles.append(f"{missing} not linked within {LINKED:.0f} s")
        path = f"/api/sessions/{session.joined}"
        gone = await crowd.client.ask("DELETE", path, route="delete", session=session.joined)
        if not missing and gone.status < 300:
            crowd.diary.cycled += 1
