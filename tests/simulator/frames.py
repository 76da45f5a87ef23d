"""What the server says to a page, as JSON objects; the page's `session.js` is the other end."""

import json

from tests.simulator.directory import Contact, Device, Group, lid_of, number_of
from tests.simulator.ledger import Message

Frame = dict[str, object]


def message(kept: Message, *, history: bool) -> Frame:
    """A message for the page to keep and show, and to acknowledge by its `seq`."""
    frame: Frame = {
        "t": "msg",
        "seq": kept.seq,
        "id": kept.id,
        "from_me": kept.from_me,
        "chat": kept.chat,
        "author": kept.author,
        "pushname": kept.pushname,
        "body": kept.body,
        "type": kept.type,
        "ts": kept.ts,
        "ack": kept.ack,
        "history": history,
        "more": json.loads(kept.more),
    }
    if kept.chat.endswith("@lid"):
        frame |= {"lid": kept.chat, "phone": f"{number_of(kept.chat)}@c.us"}
    return frame


def receipt(of: Message, ack: int, ts: int) -> Frame:
    """A receipt for a message the page (or another device of the account) sent."""
    return {"t": "receipt", "chat": of.chat, "ids": [of.id], "ack": ack, "ts": ts}


def pair_success(device: Device, pushname: str) -> Frame:
    """The credentials of a page that was just linked; it shows them at its next start."""
    creds = {
        "wid": f"{device.number}:{device.slot}@c.us",
        "lid": lid_of(device.number).replace("@", f":{device.slot}@"),
        "pushname": pushname,
        "token": device.token,
    }
    return {"t": "pair-success", "creds": creds}


def exists(contact: Contact) -> Frame:
    """Whether a number is on WhatsApp, its addresses, and where the chat with it lives."""
    return {
        "exists": contact.registered,
        "wid": contact.wid,
        "lid": contact.lid,
        "chat": contact.chat,
    }


def group(of: Group) -> Frame:
    """A group; participants are addressed by LID."""
    members = [lid_of(number) for number in of.members]
    return {"id": of.id, "subject": of.subject, "participants": members}
