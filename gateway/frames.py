"""What is told to those who watch: one frame for each event of the log, in words clients know.

A frame has faces. The first is what it is; the others are what it is as well:
`session-ready` is a `state-change` too. A WebSocket gets each event once, under
the first face it asked for, so that a position stands for one frame; a door
that knows no positions (Socket.IO) may show all faces.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from events import codec, live, subjects
from events.clock import utc_now
from events.codec import AnyPayload
from events.envelope import Envelope, new_id
from events.log import Stored
from events.session import State
from events.subjects import SessionId
from gateway.faces import Face, faces_of
from gateway.wire import Json, instant, number
from projections.views import QrView, SessionView


@dataclass(slots=True)
class Frame:
    """One thing to tell. `position` is its place in the log, None for what is never stored."""

    id: str
    position: int | None
    timestamp: str
    session: str
    user: str
    faces: tuple[Face, ...]
    _written: dict[str, str] = field(default_factory=dict[str, str], repr=False)

    def under(self, names: frozenset[str] | None) -> tuple[str, str] | None:
        """Give the first face among `names` (None: all) as its name and JSON, if there is one."""
        for name, payload in self.faces:
            if names is None or name in names:
                if name not in self._written:
                    self._written[name] = self._write(name, payload)
                return name, self._written[name]
        return None

    def _write(self, name: str, payload: Json) -> str:
        return json.dumps(
            {
                "id": self.id,
                "position": self.position,
                "timestamp": self.timestamp,
                "event": name,
                "session": self.session,
                "payload": payload,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the log, decoded."""

    session: SessionId
    envelope: Envelope
    payload: AnyPayload
    position: int


def decoded(stored: Stored) -> Told | None:
    """Read an event of a session; None for one of a pool, and for what a newer writer wrote."""
    try:
        envelope = stored.envelope
        session = SessionId.parse(envelope.subject)
        return Told(session, envelope, codec.payload_of(envelope), stored.position)
    except (codec.Undecodable, subjects.BadToken):
        return None


def of_event(told: Told) -> Frame | None:
    """Tell an event of the log; None if it is nobody's business outside."""
    envelope, session = told.envelope, told.session
    at = instant(envelope.time)
    faces = faces_of(session, at, told.payload)
    if not faces:
        return None
    return Frame(envelope.id, told.position, at, session.joined, session.user, tuple(faces))


def of_qr(session: SessionId, code: QrView, picture: str, frame_id: str | None = None) -> Frame:
    """Show a code. It is a credential and has no place in the log."""
    payload: Json = {
        "sessionId": session.joined,
        "qr": code.code,
        "qrDataUrl": picture,
        "status": "waiting_qr",
        "attempt": code.attempt,
        "expiresAt": instant(code.expires),
    }
    return _unstored(session, ("qr-update", payload), ("qr", payload), frame_id=frame_id)


def of_queue(session: SessionId, notice: live.QueuePosition) -> Frame:
    """Tell where a start stands in the line."""
    payload: Json = {"sessionId": session.joined, "position": notice.position}
    return _unstored(session, ("queue-position", payload))


def of_state(session: SessionId, view: SessionView) -> Frame:
    """Tell the state as it is, to someone who has just come."""
    at = instant(view.updated)
    common: Json = {"sessionId": session.joined, "status": view.word, "timestamp": at}
    change = common | {"state": view.word, "phoneNumber": number(view.phone), "reason": view.reason}
    faces: list[Face] = [("state-change", change)]
    match State(view.state):
        case State.READY:
            faces.append(("session-ready", common | {"phoneNumber": number(view.phone)}))
        case State.AUTHENTICATED:
            faces.append(("session-authenticated", common))
        case State.BLOCKED:
            faces.append(("auth-failed", common | {"error": view.reason}))
        case State.OFFLINE | State.PARKED | State.RESTING | State.STOPPED | State.LOGGED_OUT:
            gone = common | {"reason": view.reason}
            faces += [("session-disconnected", gone), ("disconnected", gone)]
        case _:
            pass
    return _unstored(session, *faces)


def of_nothing(joined: str) -> Frame:
    """Tell that there is no such session yet."""
    at = instant(utc_now())
    payload: Json = {
        "sessionId": joined,
        "status": "not_found",
        "state": "not_found",
        "timestamp": at,
    }
    return Frame(new_id(), None, at, joined, "", (("state-change", payload),))


def gap(session: str, since: int, until: int | None, reason: str) -> Frame:
    """Tell that something between two positions may be missing."""
    payload: Json = {"since": since, "until": until, "reason": reason}
    return Frame(new_id(), None, instant(utc_now()), session, "", (("gap", payload),))


def dropped(session: str, reason: str, detail: str, since: int | None) -> Frame:
    """Tell a reader why it is sent away, and the position to come back with."""
    payload: Json = {"reason": reason, "detail": detail, "since": since}
    return Frame(new_id(), None, instant(utc_now()), session, "", (("dropped", payload),))


def _unstored(session: SessionId, *faces: Face, frame_id: str | None = None) -> Frame:
    at = instant(utc_now())
    return Frame(frame_id or new_id(), None, at, session.joined, session.user, faces)
