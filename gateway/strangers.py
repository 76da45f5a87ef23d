"""People whom a user writes to first: a budget of its own, since that is what WhatsApp blocks for.

Somebody is known who is in what a session keeps of its history (the newest 1,000
messages, either way) or was paid for by this gateway lately. Nothing is stored
for it: who was forgotten, for a restart after a thousand newer messages, costs
one place again. A group is no stranger, since one has to be in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from events.settings import Settings
from events.subjects import SessionId
from gateway.budget import Budget
from gateway.windows import Window
from projections.read import ReadModels

DAY = 86_400
HISTORY = 1_000
"""Messages that are looked through; the read models keep no more."""
REMEMBERED = 20_000


class Strangers:
    """Tells strangers from acquaintances. Raises ReadModelsAway."""

    def __init__(self, settings: Settings, reads: ReadModels) -> None:
        amount = settings.new_chats_per_day
        self._window = Window("new-chats", amount, DAY) if amount else None
        self._reads = reads
        self._met: OrderedDict[tuple[SessionId, str], None] = OrderedDict()

    async def pay(self, spend: Budget, user: str, sessions: Sequence[SessionId], to: str) -> None:
        """Spend a message of a user's quota, and a new chat if none of `sessions` knows `to`.

        Both or neither. Raises Problem 429 and 503, see Budget.take.
        """
        if self._window is None or spend.free or to.endswith("@g.us"):
            await spend.take("messages", user)
        elif await self._is_known(sessions, to):
            await spend.take("messages", user)
            self._meet(sessions, to)
        else:
            await spend.take("messages", user, self._window)
            self._meet(sessions, to)

    async def _is_known(self, sessions: Sequence[SessionId], to: str) -> bool:
        if any((session, to) in self._met for session in sessions):
            return True
        for session in sessions:
            if any(message.chat == to for message in await self._reads.history(session, HISTORY)):
                return True
        # Two requests may have looked at once; the other one may have paid meanwhile.
        return any((session, to) in self._met for session in sessions)

    def _meet(self, sessions: Sequence[SessionId], to: str) -> None:
        for session in sessions:
            self._met[session, to] = None
            self._met.move_to_end((session, to))
        while len(self._met) > REMEMBERED:
            self._met.popitem(last=False)
