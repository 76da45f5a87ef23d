"""The phone account of a session: owned once in all of the service, whichever id it came under."""

from __future__ import annotations

from collections.abc import Callable

from actors.leases import LeaseAway
from actors.session_parts import SessionParts
from events.session_facts import Conflicted, Synced

IN_USE = "account_in_use"
"""Why a session is parked whose phone account is another session's of this service."""


class Account:
    """One session's hold on its account. Used on the session's own thread only."""

    def __init__(
        self,
        own: SessionParts,
        note: Callable[[Synced | Conflicted], None],
        look_soon: Callable[[], None],
    ) -> None:
        """`look_soon` has the page asked again."""
        self._own, self._note, self._look_soon = own, note, look_soon

    def take(self, fact: Synced) -> None:
        """Go on with what makes the session ready, unless another one has the account."""
        own = self._own
        try:
            took = own.node.loop.wait(own.node.leases.take_account(own.identity, fact.phone))
        except LeaseAway as error:
            own.log.info("session.account_unknown", error=str(error))
            self._look_soon()
        else:
            self._note(fact if took else Conflicted(IN_USE))

    def taken(self) -> None:
        """Give way: another session has it by now."""
        self._note(Conflicted(IN_USE))

    def let_go(self) -> None:
        """Leave it to whoever links the phone next."""
        own = self._own
        own.node.loop.run(
            own.node.leases.release_account(own.identity),
            then=lambda _: None,
            failed=lambda error: own.log.debug("session.account_kept", error=repr(error)),
        )
