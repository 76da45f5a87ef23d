"""Whom a message goes to: what people have at hand becomes a chat id."""

from __future__ import annotations

import re

NUMBER_RULE = "must be a phone number with its country code (491701234567 or +49 170 1234567)"
RULE = f"{NUMBER_RULE} or a chat id ending in @c.us, @s.whatsapp.net, @g.us or @lid"

DIGITS = r"\+?[1-9]([ .-]*[0-9]){6,14}"
PHONE = rf"{DIGITS}|[1-9][0-9]{{6,14}}@(c\.us|s\.whatsapp\.net)"
PERSON = rf"{PHONE}|[0-9]{{5,20}}@lid"
ANYONE = rf"{PERSON}|[0-9]{{5,20}}(-[0-9]{{5,20}})?@g\.us"
"""What is surely taken, for the document. More is: marks and brackets of a copied number."""

LONGEST = 128
# Contacts copied from a phone carry invisible direction marks around the number.
_INVISIBLE = dict.fromkeys([0x200B, 0xFEFF, *range(0x200E, 0x2010), *range(0x202A, 0x202F)])
_INVISIBLE.update(dict.fromkeys(range(0x2066, 0x206A)))
_SEPARATORS = re.compile(r"[\s.()/\u2010-\u2015-]+")
# E.164: at most 15 digits, and no country code begins with 0. The shortest
# numbers in use have 7.
_PHONE = re.compile(r"[1-9][0-9]{6,14}")
_GROUP = re.compile(r"[0-9]{5,20}(-[0-9]{5,20})?")
_LID = re.compile(r"[0-9]{5,20}")
_DEVICE = re.compile(r":[0-9]{1,5}$")


class BadRecipient(ValueError):
    """`to` is neither a phone number with its country code nor a chat id."""

    def __init__(self, hint: str = "") -> None:
        super().__init__(f"{RULE}; {hint}" if hint else RULE)


def chat_id(to: str | int) -> str:
    """Return the chat id for `to`, as `…@c.us`, `…@g.us` or `…@lid`; raise BadRecipient."""
    text = str(to).translate(_INVISIBLE).strip()
    if len(text) > LONGEST:
        raise BadRecipient
    local, at, server = text.rpartition("@")
    if not at:
        return f"{_phone(text)}@c.us"
    match server.lower():
        case "c.us" | "s.whatsapp.net":
            # Other libraries write the device behind the number: 491701234567:12@….
            return f"{_phone(_DEVICE.sub('', local))}@c.us"
        case "g.us" if _GROUP.fullmatch(local):
            return f"{local}@g.us"
        case "lid" if _LID.fullmatch(_DEVICE.sub("", local)):
            return f"{_DEVICE.sub('', local)}@lid"
        case _:
            raise BadRecipient


def _phone(text: str) -> str:
    # +49 (0)170 … reads as 490170 … when the brackets go: a wrong number.
    if "(0)" in text:
        raise BadRecipient("leave out the (0)")
    if not text.startswith(("+", "(", *"0123456789")):
        raise BadRecipient
    digits = _SEPARATORS.sub("", text).removeprefix("+")
    if _PHONE.fullmatch(digits):
        return digits
    if digits.startswith("0") and digits.isdigit():
        raise BadRecipient("write the country code instead of a leading 0")
    raise BadRecipient
