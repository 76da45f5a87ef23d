"""Answers to questions about a session's page."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import cast

from pydantic import JsonValue

from actors.browser.protocol import (
    Addresses,
    Browser,
    BrowserError,
    Chat,
    Group,
    MessageSeen,
    PageGone,
    PageStatus,
    PageTimeout,
)
from actors.inbox import Asked
from actors.keeping import Keeper
from events import codec
from events.session import Session, State

Json = dict[str, JsonValue]
_NUMBER = re.compile(r"[1-9][0-9]{6,14}")

LARGEST = 1_900_000
"""Bytes of an answer; nats.conf takes 2 MB in one message."""


class BadQuestion(Exception):
    """A question lacks what it asks about."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An encoded answer, and what it says of the page: sound, failing, or nothing (None)."""

    raw: bytes
    page_works: bool | None


def no_pairing_code(asked: Asked, session: Session) -> bytes | None:
    """Encode why there is no code to type into a phone; None if one can be asked for."""
    if session.state is not State.PAIRING:
        detail = f"the session is {session.word}; it waits for no phone"
        return codec.answer_error("not_pairing", detail, 409)
    if not _NUMBER.fullmatch(asked.question.number or ""):
        detail = "number must be digits: the country code, then the number"
        return codec.answer_error("bad_question", detail, 400)
    return None


async def answer(
    browser: Browser, asked: Asked, keeper: Keeper, typed_until: datetime | None = None
) -> Reply:
    """Ask the page and encode what it says; a failure is an answer too.

    `typed_until` is when a code for the phone ends, if that is what is asked for.
    """
    try:
        raw = codec.answer(await _look(browser, asked, keeper, typed_until))
        if len(raw) > LARGEST:
            # The broker would refuse it, and whoever asked would hear nothing at all.
            detail = "the answer is too large; ask for fewer"
            return Reply(codec.answer_error("too_large", detail, 413), page_works=True)
        return Reply(raw, page_works=True)
    except BadQuestion as error:
        return Reply(codec.answer_error("bad_question", str(error), 400), page_works=None)
    except PageTimeout:
        detail = "the page did not answer in time"
        return Reply(codec.answer_error("page_timeout", detail, 503), page_works=False)
    except PageGone:
        return Reply(codec.answer_error("page_gone", "the page went away", 503), page_works=None)
    except BrowserError as error:
        return Reply(codec.answer_error("browser_error", str(error), 503), page_works=False)


async def _look(
    browser: Browser, asked: Asked, keeper: Keeper, typed_until: datetime | None
) -> Json | list[JsonValue]:
    question = asked.question
    match asked.query:
        case "status":
            return _plain(await browser.status())
        case "chats":
            return [_plain(chat) for chat in await browser.chats()]
        case "messages":
            found = await browser.messages(_needed(question.chat, "chat"), question.limit)
            return [_plain(message) for message in found]
        case "check-number":
            number = _needed(question.number, "number")
            known = await browser.check_number(number)
            return {"exists": known is not None, "id": known}
        case "groups":
            return [_plain(group) for group in await browser.groups()]
        case "addresses":
            return _plain(await browser.addresses(_needed(question.chat, "chat")))
        case "seen":
            await browser.mark_seen(_needed(question.chat, "chat"))
            return {"seen": True}
        case "typing":
            await browser.set_typing(_needed(question.chat, "chat"), question.typing)
            return {"typing": question.typing}
        case "screenshot":
            return {"png": base64.b64encode(await browser.screenshot()).decode()}
        case "pairing-code":
            code = await browser.pairing_code(_needed(question.number, "number"))
            return {"code": code, "expires": typed_until and typed_until.isoformat()}
        case "media":
            kept = await keeper.keep(browser, _needed(question.message, "message"))
            return kept.model_dump(mode="json")
        case "qr":
            raise BadQuestion("the session itself answers this one")


def _needed(value: str | None, field: str) -> str:
    if not value:
        raise BadQuestion(f"{field} is missing")
    return value


def _plain(thing: PageStatus | Chat | MessageSeen | Group | Addresses) -> Json:
    fields = asdict(thing)
    plain = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}
    return cast("Json", plain)
