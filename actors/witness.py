"""What a session's page shows and answers: it becomes a fact, or goes to the part it is for."""

from __future__ import annotations

from collections.abc import Callable

from actors.account import Account
from actors.browser import protocol as b
from actors.codes import Codes
from actors.preserving import Preserver
from actors.probe import Probe
from actors.receiving import Receiver
from actors.session_parts import SessionParts
from actors.sightings import fact_of, failure_of
from events.session import State
from events.session_facts import Fact, Failure, Progress, Synced, Unlinked


class Witness:
    """Looks at one session's page. Used on the session's own thread only."""

    def __init__(
        self,
        own: SessionParts,
        note: Callable[[Fact], None],
        *,
        account: Account,
        codes: Codes,
        preserver: Preserver,
        probe: Probe,
        receiver: Receiver,
    ) -> None:
        self._own, self._note = own, note
        self._account, self._codes, self._preserver = account, codes, preserver
        self._probe, self._receiver = probe, receiver

    def see(self, sighting: b.Sighting) -> None:
        """Take what the page tells by itself."""
        match sighting:
            case b.Loading(percent, message):
                self._note(Progress(percent, message))
            case b.QrShown():
                self._see_code(sighting)
            case b.QrIdle():
                if self._codes.may_change:
                    self._probe.refresh_qr()
            case b.StateSeen(status):
                self._see_status(status)
            case b.LoggedOut(reason):
                self._note(Unlinked(reason or "unlinked"))
            case b.MessageSeen():
                self._probe.heard()
                self._receiver.see(sighting)
            case b.AckSeen():
                self._probe.heard()
                self._receiver.acked(sighting)
            case b.Gone(reason, detail):
                self._note(Failure(reason, detail))

    def _see_code(self, shown: b.QrShown) -> None:
        if shown.painted and self._own.state.linked:
            # Credentials die by what WhatsApp says of them, not by a picture.
            return
        doubt = self._preserver.doubt()
        if doubt is not None:
            self._note(doubt)
        else:
            self._codes.show(shown)

    def answered(self, outcome: b.PageStatus | Exception | None) -> None:
        """Take what a call into the page came to."""
        if isinstance(outcome, b.PageStatus):
            self._see_status(outcome)
        elif isinstance(outcome, b.PageReloaded):
            # It navigates, as after a log-out; it tells its state anew, and is asked again.
            self._probe.look_soon()
        elif outcome is not None:
            self._note(failure_of(outcome))

    def _see_status(self, status: b.PageStatus) -> None:
        state = self._own.state
        fact = fact_of(status, state)
        if fact is not None:
            if status.authenticated:
                self._codes.forget()
            if isinstance(fact, Synced) and state.state is not State.READY:
                self._account.take(fact)
            else:
                self._note(fact)
