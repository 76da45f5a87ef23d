"""Message events as entries of a session's history: what to write for each. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NotRequired, TypedDict, assert_never

from events import message as m
from events.content import Contact, Content, Deletion, Kept, Location, Media, Reaction
from events.message import MessageEvent
from projections.facts import Fact

Fields = dict[str, str | int]

FIRST: Fields = {"direction": "out", "type": "chat", "body": "", "ack": 0}
"""What an entry has whatever its first event is: the log may have expired the earlier ones."""


class Step(TypedDict):
    """One message event as `apply_messages.lua` takes it.

    `first` is written when the entry is made, `set` each time; `creates` is
    false for what only touches an entry that is there. `ack` never goes back
    and decides the status. `counts` names the total that grows by one.
    """

    entry: str
    version: int
    position: int
    expires: int
    at: str
    creates: bool
    first: Fields
    set: Fields
    base: bool
    ack: NotRequired[int]
    counts: NotRequired[str]


def step(fact: Fact[MessageEvent], keep: timedelta, base: int | None = None) -> Step:
    """Tell what one event writes; `base` is the version at which the log's family begins."""
    event = fact.event
    done: Step = {
        "entry": _entry(event),
        "version": fact.version,
        "position": fact.position,
        "expires": milliseconds(fact.stored_at + keep),
        "at": fact.at.isoformat(),
        "creates": True,
        "first": {**FIRST, "at": fact.at.isoformat()},
        "set": {},
        "base": fact.version == base,
    }
    match event:
        case m.Sending():
            done["first"] |= {"message": event.message, "chat": event.to}
            done["set"] = {
                **_carried(event.content, fact),
                "body": event.body,
                "wa_id": event.wa_id,
                "status": "queued",
                "ack": 0,
            }
        case m.Sent():
            # The chat stays what was asked for: WhatsApp may resolve a phone to a LID.
            done["first"] |= {"message": event.message, "chat": event.chat}
            done["set"] = {"wa_id": event.wa_id, "key": event.key, "at": event.at.isoformat()}
            done["ack"] = max(1, event.ack)
            done["counts"] = "sent"
        case m.Failed():
            done["first"] |= {"message": event.message, "chat": event.to}
            done["set"] = {"status": "failed", "reason": event.reason}
            done["counts"] = "failed"
        case m.Expired():
            done["first"] |= {"message": event.message, "chat": event.to}
            done["set"] = {"status": "expired", "reason": "deadline"}
            done["counts"] = "failed"
        case m.Unresolved():
            done["first"] |= {"message": event.message, "chat": event.to}
            done["set"] = {
                "wa_id": event.wa_id,
                "status": "unresolved",
                "reason": event.reason,
            }
        case m.Received():
            done["first"] = _received(event) | _file(event.media, fact)
            if not event.from_me:
                done["counts"] = "received"
        case m.Delivered() | m.Read() | m.Played():
            done["creates"] = False
            done["ack"] = m.ACK_OF[event.kind]
        case _:
            assert_never(event)
    return done


def _entry(event: MessageEvent) -> str:
    # What we sent goes by our own id, which is there before WhatsApp's and outlives a retry.
    if isinstance(event, m.Received) or event.message is None:
        return f"i:{event.wa_id}"
    return f"o:{event.message}"


def _received(event: m.Received) -> Fields:
    # What the owner wrote on the phone goes out, though not through us.
    given: dict[str, str | int | None] = {
        "direction": "out" if event.from_me else "in",
        "status": "sent" if event.from_me else "received",
        "ack": 1 if event.from_me else 0,
        "wa_id": event.wa_id,
        "key": event.key,
        "chat": event.chat,
        "sender": event.sender,
        "author": event.author,
        "type": event.type,
        "body": event.body,
        "at": event.at.isoformat(),
        "push_name": event.push_name,
    }
    return {name: value for name, value in given.items() if value is not None}


def _carried(content: Content | None, fact: Fact[MessageEvent]) -> Fields:
    """Tell what a send carries besides its text, by WhatsApp's own word for it."""
    match content:
        case None:
            return {}
        case Media():
            word = "ptt" if content.kind == "voice" else content.kind
            kept = Kept.model_validate(content, from_attributes=True)
            return {"type": word, **_file(kept, fact)}
        case Location():
            return {"type": "location"}
        case Contact():
            return {"type": "vcard"}
        case Reaction():
            return {"type": "reaction"}
        case Deletion():
            return {"type": "revoked"}
        case _:
            assert_never(content)


def _file(file: Kept | None, fact: Fact[MessageEvent]) -> Fields:
    if file is None:
        return {}
    return {"media": file.model_dump_json(), "media_at": fact.stored_at.isoformat()}


def milliseconds(at: datetime) -> int:
    """Return a time as Redis takes it."""
    return round(at.timestamp() * 1_000)
