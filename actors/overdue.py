"""Sends that wait in the queue of a session that is not ready: past their deadline they end."""

from __future__ import annotations

from actors.inbox import Pending
from actors.sending import Sender
from actors.session_messages import Overdue
from actors.session_parts import SessionParts
from events import codec
from events.message import Send


class OverdueSends:
    """One session's sends in the queue while it is not ready. Its own thread only."""

    def __init__(self, own: SessionParts, sender: Sender) -> None:
        self._own, self._sender = own, sender

    def look(self) -> None:
        """Have the queue read; what is in it comes as `Overdue`."""
        own = self._own
        own.node.loop.run(
            own.node.wire.pending_sends(own.identity),
            then=lambda found: own.tell_me(Overdue(found)),
            failed=lambda error: own.log.info("session.sweep_failed", error=repr(error)),
        )

    def expire(self, pending: list[Pending]) -> None:
        """Give up what is past its deadline, and take it out of the queue."""
        own = self._own
        for waiting in pending:
            try:
                send = codec.payload_of(waiting.envelope)
            except codec.Undecodable:
                continue  # It goes to the dead letters when its turn comes.
            if isinstance(send, Send) and self._sender.expire(send, waiting.envelope.id):
                own.node.loop.run(
                    own.node.wire.discard(waiting.position),
                    then=lambda _: None,
                    failed=lambda _: None,
                )
