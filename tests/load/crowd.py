"""The users: each links a session, sends, is written to by a friend, and looks now and then."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count

from events.subjects import SessionId
from tests.faults.evidence import Answer, Written
from tests.load.client import LOST, Client
from tests.load.diary import Diary, Request
from tests.load.ears import Ears
from tests.load.plan import Plan
from tests.simulator.phone import Phone, PhoneError

CREATES = 8
"""Creates that are under way at once."""

WINDOW = 2.0
"""Seconds in which a user that exceeded its quota may be refused; the window is one second."""


class Crowd:
    """All users of a run."""

    def __init__(self, plan: Plan, client: Client, phone: Phone, diary: Diary) -> None:
        self.plan, self.client, self.phone, self.diary = plan, client, phone, diary
        self.numbers: dict[str, str] = {}
        self.ears = Ears(diary, self._scan)
        self._dice = random.Random(plan.users)
        self._texts = count(1)
        self._exceeding: dict[SessionId, float] = {}

    # --- linking --------------------------------------------------------------

    async def link(self, sessions: Sequence[SessionId], seconds: float) -> list[str]:
        """Create sessions and scan their codes; return those that are not ready in time."""
        give_up = time.monotonic() + seconds
        some = asyncio.Semaphore(CREATES)

        async def one(session: SessionId) -> bool:
            async with some:
                await self.create(session)
            return await self.ears.until(session.joined, {"ready"}, give_up - time.monotonic())

        linked = await asyncio.gather(*(one(session) for session in sessions))
        return [s.joined for s, ready in zip(sessions, linked, strict=True) if not ready]

    async def create(self, session: SessionId) -> Request:
        """Create a session; its phone scans each code that is shown until it is linked."""
        self.numbers.setdefault(session.joined, f"1555{len(self.numbers):07d}")
        body = {"userId": session.user, "plubotId": session.bot}
        return await self.client.ask(
            "POST",
            "/api/sessions/create",
            route="create",
            session=session.joined,
            body=body,
        )

    async def _scan(self, session: str, code: str) -> None:
        # A code may have been replaced by the time it is scanned; then the next is shown.
        with suppress(PhoneError):
            if number := self.numbers.get(session):
                await self.phone.scan(code, number=number)

    # --- a user's day -----------------------------------------------------------

    def work(self, session: SessionId) -> list[Awaitable[None]]:
        """Return what a user does: sends, has a friend, looks. Each for ever."""
        plan = self.plan
        return [
            self._again(60 / plan.rate, lambda: self.send(session)),
            self._again(60 / plan.rate, lambda: self.write(session)),
            self._again(60 / plan.looks, lambda: self.look(session)),
        ]

    async def _again(self, pause: float, act: Callable[[], Awaitable[object]]) -> None:
        # By the clock and not after the last answer: a slow service gets no rest from it.
        due = time.monotonic() + self._dice.uniform(0, pause)
        acting: set[asyncio.Future[object]] = set()
        try:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += pause
                acts = asyncio.ensure_future(act())
                acting.add(acts)
                acts.add_done_callback(acting.discard)
        except asyncio.CancelledError:
            # What was begun is seen through: its outcome belongs to the figures.
            await asyncio.gather(*acting)
            raise

    def friend(self, session: SessionId) -> str:
        """The number of a user's friend."""
        return self.numbers[session.joined].replace("1555", "1666", 1)

    def exceeds(self, session: SessionId) -> None:
        """Let what this user sends in the next moment be what exceeds its quota."""
        self._exceeding[session] = time.monotonic() + WINDOW

    async def send(self, session: SessionId) -> Request:
        """Send one text."""
        text = f"load-{next(self._texts)}"
        friend = self.friend(session)
        sent = self.diary.ledger.send(text, session.dotted, friend)
        request = await self.client.ask(
            "POST",
            "/api/messages/send",
            route="send",
            session=session.joined,
            body={"sessionId": session.joined, "to": friend, "message": text},
            refusable=time.monotonic() < self._exceeding.get(session, 0.0),
            key=text,
        )
        sent.told(_word(request.status), str(request.status))
        return request

    async def write(self, session: SessionId) -> None:
        """Have the friend write one text."""
        text = f"hi-{next(self._texts)}"
        friend = self.friend(session)
        began = time.perf_counter()
        try:
            held = await self.phone.incoming(self.numbers[session.joined], friend, text)
        except PhoneError as error:
            self.diary.troubles.append(f"a friend could not write: {error}")
            return
        self.ears.wrote(held, began)
        self.diary.ledger.wrote(Written(held, session.dotted, friend, text))

    async def look(self, session: SessionId) -> None:
        """Read the session's status and its newest messages."""
        paths = {
            "status": f"/api/sessions/{session.joined}/status",
            "history": f"/api/messages/{session.joined}/history?limit=20",
        }
        for route, path in paths.items():
            await self.client.ask("GET", path, route=route, session=session.joined)


def _word(status: int) -> Answer:
    if status in {200, 202}:
        return Answer.ACCEPTED
    return Answer.UNKNOWN if status == LOST or status >= 500 else Answer.REFUSED
