"""Sending a message: through which session, whether now, and what came of it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from events.clock import utc_now
from events.content import Content, Media
from events.envelope import new_id
from events.message import Expired, Failed, Outcome, Send, Sent, Unresolved
from events.session import State
from events.settings import Settings
from events.subjects import SessionId
from gateway.codes import suspended
from gateway.commands import Commands, Published, refusal, send_id
from gateway.directory import Directory
from gateway.keyed import Keyed
from gateway.outcomes import Heard, Outcomes
from gateway.problems import Problem
from gateway.stages import Course, Stages
from projections.read import ReadModels, ReadModelsAway
from projections.views import MessageView, SessionView

WAITS = frozenset(
    {
        State.REGISTERED,
        State.QUEUED,
        State.STARTING,
        State.AUTHENTICATED,
        State.OFFLINE,
        State.BACKING_OFF,
    }
)
"""States in which a message is accepted and goes out later: 202."""

_FITTING = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a send stands. `status`: sent, queued or unresolved; `at` is WhatsApp's time if sent."""

    session: str
    command: str
    key: str
    status: str
    at: datetime
    wa_id: str | None = None
    full_key: str | None = None
    ack: int = 0

    @property
    def is_sent(self) -> bool:
        """Whether WhatsApp's server has it."""
        return self.status == "sent"


def message_key(idempotency_key: str | None) -> str:
    """Return the message key of an `Idempotency-Key`: itself if it fits, or its hash."""
    if idempotency_key is None:
        return new_id()
    if _FITTING.fullmatch(idempotency_key):
        return idempotency_key
    return f"sha256:{hashlib.sha256(idempotency_key.encode()).hexdigest()}"


class Sender:
    """Raises Problem, BrokerAway and ReadModelsAway."""

    def __init__(  # noqa: PLR0917 - each part has a type of its own
        self,
        settings: Settings,
        reads: ReadModels,
        directory: Directory,
        commands: Commands,
        outcomes: Outcomes,
        stages: Stages,
    ) -> None:
        self._settings = settings
        self._reads = reads
        self._directory = directory
        self._commands = commands
        self._outcomes = outcomes
        self._stages = stages
        self._under_way: Counter[SessionId] = Counter()
        self.outcomes: Counter[str] = Counter()

    async def through(
        self,
        view: SessionView,
        to: str,
        body: str,
        once: Keyed | str | None,
        *,
        content: Content | None = None,
        quoted: str | None = None,
        file: Callable[[], Awaitable[Media]] | None = None,
    ) -> Delivery:
        """Send through a session. The same key again answers with the first outcome.

        `once` is the key of a request with its record, or one that needs none.
        `file` keeps the file to send, and raises Problem and BrokerAway; it is not asked
        where nothing is sent.
        """
        session = SessionId(view.user, view.bot)
        longest = self._settings.max_message_chars
        if len(body) > longest:
            raise Problem(413, "too_long", f"message must be at most {longest:,} characters.")
        keyed = once if isinstance(once, Keyed) else None
        key = message_key(once.key if isinstance(once, Keyed) else once)
        course = self._stages.begin(session, key)
        state = State(view.state)
        if keyed is not None and keyed.accepted:
            return await self._handed_over(session, key, state)
        if once is not None:
            recorded = await self._recorded(session, key)
            if recorded is not None and (recorded.status != "queued" or state is not State.READY):
                if keyed is not None:
                    keyed.in_doubt = True
                return recorded
        _may_send(view, state)
        if file is not None:
            content = await file()
        send = Send(
            message=key,
            to=to,
            body=body,
            content=content,
            quoted=quoted,
            deadline=utc_now() + timedelta(seconds=self._settings.send_deadline),
        )
        self._under_way[session] += 1
        outcome = "refused"
        try:
            delivery = await self._send(session, send, state, course, keyed)
            outcome = delivery.status
            return delivery
        finally:
            self.outcomes[outcome] += 1
            course.answered(outcome)
            self._under_way[session] -= 1
            if not self._under_way[session]:
                del self._under_way[session]

    async def for_user(self, user: str, to: str, body: str, keyed: Keyed | None) -> Delivery:
        """Send through a user's least loaded ready session; under one key always through one."""
        views = await self._directory.every(user)
        if not views:
            raise Problem(404, "not_found", f"User {user} has no session.", exists=False)
        session = None if keyed is None else await keyed.chosen()
        if session is None:
            session = self._least_loaded(views)
            if keyed is not None:
                await keyed.choose(session)
        view = await self._directory.existing(session)
        return await self.through(view, to, body, keyed)

    async def _handed_over(self, session: SessionId, key: str, state: State) -> Delivery:
        """Tell how a message stands that was handed over, and wait if it may be going now."""
        with self._outcomes.listen(session) as listener:
            recorded = await self._known(session, key)
            if recorded is None or recorded.status == "queued":
                ended = None
                if state is State.READY:
                    ended = await listener.until(_outcome_of(key), self._settings.send_wait)
                if ended is not None:
                    return _told(session, ended)
                recorded = await self._known(session, key) or recorded
        return recorded or _queued(session, key)

    def _least_loaded(self, views: list[SessionView]) -> SessionId:
        ready = [v for v in views if State(v.state) is State.READY]
        if not ready:
            raise Problem(409, "not_ready", "None of this user's sessions is ready.")

        def load(view: SessionView) -> tuple[int, int]:
            return self._under_way[SessionId(view.user, view.bot)], view.totals.sent

        best = min(ready, key=load)
        return SessionId(best.user, best.bot)

    async def _send(
        self, session: SessionId, send: Send, state: State, course: Course, keyed: Keyed | None
    ) -> Delivery:
        with self._outcomes.listen(session) as listener:
            course.publishing()
            command = await self._hand_over(session, send, keyed)
            if not command.duplicate:
                course.queued()
            if state is not State.READY:
                return _queued(session, send.message)

            ended = _outcome_of(send.message)

            def outcome(heard: Heard) -> Outcome | Problem | None:
                return ended(heard) or refusal(heard, command)

            # What was asked before may have its outcome already: then nothing more is said.
            slices = 10 if command.duplicate else 1
            found = None
            for _ in range(slices):
                if command.duplicate:
                    recorded = await self._known(session, send.message)
                    if recorded is not None and recorded.status != "queued":
                        return recorded
                found = await listener.until(outcome, self._settings.send_wait / slices)
                if found is not None:
                    break
        match found:
            case None:
                # The listener alone misses what was said while NATS was away.
                known = await self._known(session, send.message)
                return known or _queued(session, send.message)
            case Problem():
                if keyed is not None:
                    keyed.in_doubt = False
                raise found
            case _:
                return _told(session, found)

    async def _hand_over(self, session: SessionId, send: Send, keyed: Keyed | None) -> Published:
        if keyed is not None:
            keyed.in_doubt = True
        try:
            return await self._commands.send(session, send, send_id(session, send.message))
        except Problem:
            if keyed is not None:
                keyed.in_doubt = False
            raise

    async def _known(self, session: SessionId, key: str) -> Delivery | None:
        """Look up what was handed over: that it was is known, whoever is away now."""
        try:
            return await self._recorded(session, key)
        except ReadModelsAway:
            return None

    async def _recorded(self, session: SessionId, key: str) -> Delivery | None:
        view = await self._reads.message(session, key)
        return None if view is None else _read(session, key, view)


def _may_send(view: SessionView, state: State) -> None:
    """Raise the Problem of a state in which nothing can be sent."""
    if state is State.READY or state in WAITS:
        return
    if state is State.SUSPENDED:
        raise suspended(view)
    raise Problem(
        409,
        "not_ready",
        f"The session is {view.word}{_because(view)}; it cannot send now.",
        sessionStatus=view.word,
    )


def _because(view: SessionView) -> str:
    # That somebody told it to is no reason that helps.
    return f" ({view.reason})" if view.reason and view.reason != "command" else ""


def _queued(session: SessionId, key: str) -> Delivery:
    return Delivery(session.joined, send_id(session, key), key, "queued", utc_now())


def _outcome_of(key: str) -> Callable[[Heard], Outcome | None]:
    def outcome(heard: Heard) -> Outcome | None:
        match heard.payload:
            case Sent() | Failed() | Expired() | Unresolved() as known:
                return known if known.message == key else None
            case _:
                return None

    return outcome


def _told(session: SessionId, outcome: Outcome) -> Delivery:
    command = send_id(session, outcome.message)
    match outcome:
        case Sent():
            return Delivery(
                session.joined,
                command,
                outcome.message,
                "sent",
                outcome.at,
                outcome.wa_id,
                outcome.key,
                outcome.ack,
            )
        case Failed():
            raise _failed(outcome.reason, command)
        case Expired():
            raise _expired(command)
        case Unresolved():
            return Delivery(
                session.joined,
                command,
                outcome.message,
                "unresolved",
                utc_now(),
                outcome.wa_id,
            )
        case _:
            assert_never(outcome)


def _read(session: SessionId, key: str, view: MessageView) -> Delivery:
    command = send_id(session, key)
    match view.status:
        case "failed":
            raise _failed(view.reason or "rejected", command)
        case "expired":
            raise _expired(command)
        case "queued" | "unresolved" as status:
            return Delivery(session.joined, command, key, status, view.at, view.wa_id)
        case _:
            return Delivery(
                session.joined, command, key, "sent", view.at, view.wa_id, view.key, view.ack
            )


_WHY = {
    "message_not_found": "messageId is no message of this chat.",
    "cannot_delete": "messageId is no message that this account may delete for everyone.",
    "media_gone": "The file expired before it could be sent.",
    "not_on_whatsapp": "to is not a number on WhatsApp.",
    "refused_by_page": "WhatsApp's page did not take it, however often it was tried.",
    "chat_not_found": "to is no chat that this account knows.",
}


def _failed(reason: str, command: str) -> Problem:
    detail = _WHY.get(reason, "WhatsApp refused the message for good.")
    return Problem(422, reason, detail, commandId=command, messageStatus="failed")


def _expired(command: str) -> Problem:
    detail = "The message was not sent before its deadline, and will not be."
    return Problem(409, "expired", detail, commandId=command, messageStatus="expired")
