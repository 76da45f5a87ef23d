"""What a Socket.IO client asks to see, in the words that clients of this kind use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pydantic import TypeAdapter, ValidationError

from gateway.ids import SessionKey, is_joined
from gateway.problems import Problem, from_validation
from gateway.wire import Pair

ROOM = "qr-"
ROOM_RULE = "The room must be qr-<sessionId> or qr-<userId>:<plubotId>."

_SESSION = TypeAdapter[str](SessionKey)


@dataclass(frozen=True, slots=True)
class Room:
    """A session by its outside id, and whose it must be where the client named that."""

    session: str
    user: str | None = None


def room(event: str, asked: object) -> Room | None:
    """Tell which session an event asks for, None if it is no such event; raises Problem 400."""
    try:
        match event:
            case "join-room":
                return _named(asked)
            case "join-session" | "subscribe:session" | "unsubscribe:session":
                return _session(asked)
            case "subscribe-qr":
                return _pair(asked)
            case _:
                return None
    except ValidationError as error:
        raise from_validation(error.errors()) from None


def _named(asked: object) -> Room:
    if not isinstance(asked, str) or not asked.startswith(ROOM):
        raise Problem(400, "bad_input", ROOM_RULE)
    name = asked.removeprefix(ROOM)
    # Neither half can hold a colon, so this one stands between them.
    user, colon, bot = name.partition(":")
    if colon:
        return _pair({"userId": user, "plubotId": bot})
    if not is_joined(name):
        raise Problem(400, "bad_input", ROOM_RULE)
    return Room(name)


def _session(asked: object) -> Room:
    if not isinstance(asked, dict):
        return Room(_SESSION.validate_python(asked))
    named = cast("dict[str, object]", asked)
    return (
        Room(_SESSION.validate_python(named["sessionId"])) if "sessionId" in named else _pair(named)
    )


def _pair(asked: object) -> Room:
    pair = Pair.model_validate(asked)
    return Room(f"{pair.user_id}-{pair.plubot_id}", pair.user_id)
