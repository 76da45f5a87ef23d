"""Messages told anew from the log: all that it holds, where Redis keeps the newest.

The steps are those of the history (`entries.py`), merged by the rules of `apply_messages.lua`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from events.log import Stored
from events.message import Received, Sending
from projections.entries import Step, step
from projections.facts import Stuck, message_fact
from projections.read import message_view
from projections.views import MessageView

WORDS = ("queued", "sent", "delivered", "read", "played")


class Retelling:
    """The messages of one session, in the order in which they began; `limit` are held at once.

    What becomes of a message after `limit` others began is told of it no more, and one
    whose beginning has expired is left out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: OrderedDict[str, list[Step]] = OrderedDict()

    def take(self, stored: Stored) -> MessageView | None:
        """Take the next event; return the oldest message if there is no room for it any more."""
        try:
            fact = message_fact(stored)
        except Stuck:
            return None  # A newer writer's; what it says is not for us to tell.
        done = step(fact, timedelta(0))
        if done["entry"] in self._begun:
            self._begun[done["entry"]].append(done)
        elif isinstance(fact.event, Sending | Received):
            self._begun[done["entry"]] = [done]
        if len(self._begun) > self._limit:
            return _told(self._begun.popitem(last=False)[1])
        return None

    def rest(self) -> Iterator[MessageView]:
        """Give what is held, oldest first."""
        while self._begun:
            yield _told(self._begun.popitem(last=False)[1])


def _told(steps: Sequence[Step]) -> MessageView:
    begin = steps[0]
    fields: dict[str, str | int] = {**begin["first"], "position": begin["position"]}
    for done in steps:
        fields |= done["set"]
        if "ack" in done:
            # Receipts may come in any order; a tick never goes back.
            ack = max(done["ack"], int(fields["ack"]))
            fields |= {"ack": ack, "status": WORDS[min(ack, 4)]}
            fields.pop("reason", None)
    return message_view(fields)
