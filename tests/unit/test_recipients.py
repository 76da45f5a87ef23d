"""Whom a message goes to: every way people write a number, and what is refused."""

from __future__ import annotations

import pytest

from gateway.recipients import BadRecipient, chat_id

PHONE = "491701234567@c.us"

ACCEPTED = {
    "digits": ("491701234567", PHONE),
    "a whole number": (491701234567, PHONE),
    "plus and spaces": ("+49 170 1234567", PHONE),
    "plus and dashes": ("+49-170-1234567", PHONE),
    "brackets and dots": ("+1 (555) 010.9999", "15550109999@c.us"),
    "slashes": ("+49/170/1234567", PHONE),
    "a no-break space": ("+49\u00a0170\u00a01234567", PHONE),
    "typographic dashes": ("+49\u2013170\u20111234567", PHONE),
    "blanks around": ("  491701234567\n", PHONE),
    "marks of a copied contact": ("\u202a+49 170 1234567\u202c", PHONE),
    "a chat id": (PHONE, PHONE),
    "a chat id in capitals": ("491701234567@C.US", PHONE),
    "another library's chat id": ("491701234567@s.whatsapp.net", PHONE),
    "with a device": ("491701234567:12@s.whatsapp.net", PHONE),
    "a plus before the at": ("+491701234567@c.us", PHONE),
    "the shortest": ("2901234", "2901234@c.us"),
    "the longest": ("123456789012345", "123456789012345@c.us"),
    "a group": ("120363025246125486@g.us", "120363025246125486@g.us"),
    "an old group": ("491701234567-1428837912@g.us", "491701234567-1428837912@g.us"),
    "a LID": ("98765432101234@lid", "98765432101234@lid"),
    "a LID with a device": ("98765432101234:3@lid", "98765432101234@lid"),
}

REFUSED = {
    "nothing": "",
    "blanks": "   ",
    "words": "mother",
    "a letter in between": "49170l234567",
    "too short": "123456",
    "too long": "1234567890123456",
    "no country code": "0170 1234567",
    "international zeros": "00491701234567",
    "a zero in brackets": "+49 (0)170 1234567",
    "two pluses": "++491701234567",
    "a plus behind": "491701234567+",
    "no local part": "@c.us",
    "no server": "491701234567@",
    "another server": "491701234567@example.com",
    "an address": "someone@c.us",
    "a broadcast": "status@broadcast",
    "a channel": "120363025246125486@newsletter",
    "two ats": "491701234567@c.us@c.us",
    "a group that is a word": "friends@g.us",
    "a group with a plus": "+120363025246125486@g.us",
    "a LID that is a word": "me@lid",
    "a subject": "wa.evt.>",
    "a star": "*",
    "a line break within an id": "491701234567\n@c.us\n@x",
    "foreign digits": "٤٩١٧٠١٢٣٤٥٦٧",
    "exponents": "4.9e11",
    "a minus": "-",
    "a negative number": -491701234567,
    "a thousand digits": "1" * 1_000,
}


@pytest.mark.parametrize(("given", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_people_have_at_hand_becomes_a_chat_id(given: str | int, expected: str) -> None:
    assert chat_id(given) == expected


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(given: str | int) -> None:
    with pytest.raises(BadRecipient):
        chat_id(given)


@pytest.mark.parametrize(("given", "_expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_chat_id_stays_what_it_is(given: str | int, _expected: str) -> None:
    once = chat_id(given)

    assert chat_id(once) == once


def test_a_refusal_says_what_would_do() -> None:
    with pytest.raises(BadRecipient, match="country code instead of a leading 0"):
        chat_id("0170 1234567")
