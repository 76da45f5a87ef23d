"""Answering what is asked of a session: from what is known, or by its page."""

from __future__ import annotations

from collections.abc import Callable

from actors.inbox import Asked
from actors.keeping import Keeper
from actors.operations import Operations
from actors.questions import Reply, answer, no_pairing_code
from actors.session_messages import Replied
from actors.session_parts import SessionParts
from events import codec, live
from events.session import State
from events.session_facts import TypedCode

WITHOUT_READY = frozenset({"screenshot", "status", "pairing-code"})
"""What a page can be asked whatever its state."""


class Answers:
    """One session's answers. Used on the session's own thread only."""

    def __init__(
        self,
        own: SessionParts,
        operations: Operations,
        keeper: Keeper,
        note: Callable[[TypedCode], None],
    ) -> None:
        self._own, self._operations, self._keeper, self._note = own, operations, keeper, note

    def give(self, asked: Asked, qr: live.Qr | None) -> None:
        """Answer; `qr` is the code that the page shows now, if any."""
        if asked.query == "qr":
            asked.reply(self._code(qr))
            return
        if asked.query == "pairing-code":
            no = no_pairing_code(asked, self._own.state)
            if no is not None:
                asked.reply(no)
                return
            self._note(TypedCode())
        self._ask_page(asked)

    def _code(self, qr: live.Qr | None) -> bytes:
        state = self._own.state.state
        if qr is None or state is not State.PAIRING:
            return codec.answer_error("no_code", f"no code is shown: {state.value}", 404)
        return codec.answer(qr.model_dump(mode="json"))

    def _ask_page(self, asked: Asked) -> None:
        own, browser = self._own, self._own.life.browser
        too_early = asked.query not in WITHOUT_READY and own.state.state is not State.READY
        if browser is None or too_early:
            detail = f"the session is {own.state.word}"
            asked.reply(codec.answer_error("not_ready", detail, 409))
            return
        call = self._operations.admit()
        if call is None:
            asked.reply(codec.answer_error("breaker_open", "calls into the page fail", 503))
            return
        life = own.life.number

        def replied(reply: Reply) -> None:
            asked.reply(reply.raw)
            own.tell_me(Replied(life, call, reply.page_works))

        def failed(_: Exception) -> None:
            asked.reply(codec.answer_error("failed", "no answer", 503))
            own.tell_me(Replied(life, call, page_works=False))

        own.node.loop.run(
            answer(browser, asked, self._keeper, own.state.typed_until),
            then=replied,
            failed=failed,
        )

    def ended(self, replied: Replied) -> None:
        """Give the call back to the breaker, with what the answer says of the page."""
        match replied.page_works:
            case True:
                self._operations.worked(replied.call)
            case False:
                self._operations.failed(replied.call)
            case None:
                self._operations.ended(replied.call)
