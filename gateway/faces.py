"""What an event of the log is called outside, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from events import message
from events import session_events as e
from events.codec import AnyPayload
from events.message import ACK_OF
from events.session import WORDS, State
from events.subjects import SessionId
from gateway.message_answers import Attachment
from gateway.problems import without_addresses
from gateway.wire import Json, instant, number

Face = tuple[str, Json]
"""A name that clients know, and the payload under it."""


def faces_of(session: SessionId, at: str, payload: AnyPayload) -> list[Face]:
    """Name an event in all the ways that it has outside; none: it is nobody's business there.

    That is who owns the session, its snapshots and breaker, further codes (qr-update
    tells them), what is about to be sent; pools and commands.
    """
    say = _Say(session.joined, at)
    return _of_a_start(say, payload) or _of_an_end(say, payload) or _of_chats(say, payload)


@dataclass(frozen=True, slots=True)
class _Say:
    """Makes faces of one session at one moment."""

    session: str
    at: str

    def of(self, name: str, **more: JsonValue) -> Face:
        return name, {"sessionId": self.session, **more, "timestamp": self.at}

    def changed(self, state: State) -> Face:
        return self.of("state-change", state=WORDS[state], status=WORDS[state])

    def gone(self, state: State, reason: str) -> list[Face]:
        told = self.of("session-disconnected", status=WORDS[state], reason=reason)
        return [told, ("disconnected", told[1]), self.changed(state)]

    def acked(self, wa_id: str, ack: int, chat: str, own: str | None) -> list[Face]:
        more = {"messageId": wa_id, "ack": ack, "chatId": chat, "idempotencyKey": own}
        return [self.of("message-ack", **more)]

    def lost(self, own: str, chat: str, status: str, reason: str) -> list[Face]:
        more = {"idempotencyKey": own, "chatId": chat, "status": status, "reason": reason}
        return [self.of("message-failed", **more)]


def _of_a_start(say: _Say, payload: AnyPayload) -> list[Face]:
    """Tell how a session comes up, to where it is ready."""
    match payload:
        case e.Registered():
            return [say.changed(State.REGISTERED)]
        case e.Queued() | e.Probing():
            return [say.changed(State.QUEUED)]
        case e.Starting():
            activated = say.of("session-activated", attempt=payload.attempt)
            return [say.changed(State.STARTING), activated]
        case e.LoadingSeen():
            told = without_addresses(payload.message)
            return [say.of("loading-progress", percent=payload.percent, message=told)]
        case e.Pairing():
            return [say.changed(State.PAIRING)]
        case e.QrExhausted():
            told = f"{payload.attempts} codes went unscanned; ask for a new one."
            return [say.of("qr-limit-reached", message=told, attempts=payload.attempts)]
        case e.Authenticated():
            word = WORDS[State.AUTHENTICATED]
            authenticated = say.of("session-authenticated", status=word)
            return [authenticated, say.changed(State.AUTHENTICATED)]
        case e.AuthFailed():
            told = without_addresses(payload.reason)
            return [say.of("auth-failed", status="auth_failed", error=told)]
        case e.Ready():
            name = {"phoneNumber": number(payload.phone), "pushName": payload.push_name}
            ready = say.of("session-ready", status="ready", **name)
            again = [say.of("session-reconnected", status="ready", **name)] if payload.again else []
            return [ready, *again, say.changed(State.READY)]
        case _:
            return []


def _of_an_end(say: _Say, payload: AnyPayload) -> list[Face]:
    """Tell how a session goes, and what is done to bring it back."""
    match payload:
        case e.Offline():
            return say.gone(State.OFFLINE, payload.reason)
        case e.Crashed():
            failed = say.of("session-error", error=payload.reason)
            told, *others = say.gone(State.BACKING_OFF, payload.reason)
            return [told, failed, *others]
        case e.BackingOff():
            return [
                say.of(
                    "session-reconnecting",
                    attempt=payload.attempt,
                    maxAttempts=payload.max_attempts,
                    delay=round(payload.delay * 1000),
                )
            ]
        case e.Suspended():
            told = f"{payload.failures} failures in a row; tried again at {instant(payload.until)}."
            failed = say.of("session-disconnection-failed", status="suspended", message=told)
            return [failed, say.of("session-error", error=told), say.changed(State.SUSPENDED)]
        case e.Parked():
            return say.gone(State.PARKED, payload.reason)
        case e.Rested():
            return say.gone(State.RESTING, payload.reason)
        case e.Blocked():
            failed = say.of("auth-failed", status="auth_failed", error=payload.reason)
            return [failed, say.changed(State.BLOCKED)]
        case e.LoggedOut():
            return say.gone(State.LOGGED_OUT, payload.reason)
        case e.Stopped():
            return say.gone(State.STOPPED, payload.reason)
        case e.Removed():
            return [say.changed(State.REMOVED)]
        case _:
            return []


def _of_chats(say: _Say, payload: AnyPayload) -> list[Face]:
    """Tell what was said, and what became of what we said."""
    match payload:
        case message.Sent():
            return say.acked(payload.wa_id, payload.ack, payload.chat, payload.message)
        case message.Delivered() | message.Read() | message.Played():
            ack = ACK_OF[payload.kind]
            return say.acked(payload.wa_id, ack, payload.chat, payload.message)
        case message.Failed():
            return say.lost(payload.message, payload.to, "failed", payload.reason)
        case message.Expired():
            return say.lost(payload.message, payload.to, "expired", "deadline")
        case message.Unresolved():
            return say.lost(payload.message, payload.to, "unresolved", payload.reason)
        case message.Received():
            # What the owner wrote on the phone is no message to answer.
            name = "message-from-me" if payload.from_me else "message-received"
            return [say.of(name, message=_received(say.session, payload))]
        case _:
            return []


def _received(session: str, payload: message.Received) -> Json:
    # A frame is made of its event alone, so that it is the same however often it is
    # told: an old one may name a file that has expired since.
    attached = Attachment.of(session, payload.media, payload.body)
    told: Json = {
        "id": payload.wa_id,
        "key": payload.key,
        "body": payload.body,
        "from": payload.sender,
        "chatId": payload.chat,
        "author": payload.author,
        "fromMe": payload.from_me,
        "type": payload.type,
        "pushName": payload.push_name,
        "quotedMessageId": payload.quoted,
        "timestamp": instant(payload.at),
    }
    return told | attached.model_dump(by_alias=True)
