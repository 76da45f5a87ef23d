"""Routes that look into a session's WhatsApp: its chats, groups, numbers and addresses.

Nothing here is stored or queued: the session's owner asks the page while the
client waits. What changes something (a receipt, "typing…") changes it at once
or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import StrictBool, TypeAdapter
from starlette.responses import Response

from events import asks
from events.asks import Question
from events.subjects import SessionId
from gateway.answers import Answer, answer, errors
from gateway.callers import Caller, Who, needs
from gateway.chat_answers import (
    AddressesAnswer,
    ChatDTO,
    ChatsAnswer,
    FoundAddresses,
    FoundChat,
    FoundGroup,
    FoundMessage,
    FoundNumber,
    GroupDTO,
    GroupsAnswer,
    MessagesAnswer,
    NumberAnswer,
    SeenMessageDTO,
)
from gateway.chat_ids import Person, Phone, To
from gateway.named import OfPath
from gateway.parts import Parts, Use
from gateway.wire import Wire

router = APIRouter(prefix="/api/sessions/{id}", tags=["chats"])

ChatOfPath = Annotated[
    To, Path(alias="chat", examples=["491701234567@c.us"], description="A chat id, or a number.")
]
FOUND = {"Cache-Control": "no-store"}
"""On every answer of these routes: it holds what people said, or to whom."""

_ERRORS = errors(400, 404, 409, 429, 503)
_CHATS: TypeAdapter[list[FoundChat]] = TypeAdapter(list[FoundChat])
_MESSAGES: TypeAdapter[list[FoundMessage]] = TypeAdapter(list[FoundMessage])
_GROUPS: TypeAdapter[list[FoundGroup]] = TypeAdapter(list[FoundGroup])
_NUMBER: TypeAdapter[FoundNumber] = TypeAdapter(FoundNumber)
_ADDRESSES: TypeAdapter[FoundAddresses] = TypeAdapter(FoundAddresses)
_ANYTHING: TypeAdapter[object] = TypeAdapter(object)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """The page of the session that a path names, as far as its owner tells of it."""

    session: str
    parts: Parts
    caller: Caller

    async def ask(
        self, query: asks.Query, shape: TypeAdapter[T], question: Question | None = None
    ) -> T:
        """Ask; raises Problem (404, the owner's own no, 503) and BrokerAway."""
        view = await self.parts.directory.by_id(self.session, self.caller)
        return await self.parts.asks.look(SessionId(view.user, view.bot), query, shape, question)


def _page(session_id: OfPath, parts: Use, caller: Who) -> Page:
    return Page(session_id, parts, caller)


OnPage = Annotated[Page, Depends(_page)]


def _with(model: type[Answer]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}} | _ERRORS


class TypingBody(Wire):
    """Whether "typing…" shows; WhatsApp itself lets it fade after some seconds."""

    typing: StrictBool = True


class ChatDone(Answer):
    """It was done in the page."""

    session_id: str
    chat_id: str


@router.get("/chats", summary="Chats, newest first", responses=_with(ChatsAnswer))
@needs("read")
async def chats(page: OnPage) -> Response:
    """List the chats that the page holds, with how much of each is unread."""
    found = await page.ask("chats", _CHATS)
    shown = [ChatDTO.of(chat) for chat in found]
    return answer(
        ChatsAnswer(session_id=page.session, chats=shown, total=len(shown)), headers=FOUND
    )


@router.get(
    "/chats/{chat}/messages",
    summary="The last messages of a chat, oldest first",
    responses=_with(MessagesAnswer),
)
@needs("read")
async def messages(
    page: OnPage,
    chat: ChatOfPath,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Read them from the page; unlike the history, what was before the link is among them."""
    question = Question(chat=chat, limit=limit)
    found = await page.ask("messages", _MESSAGES, question)
    body = MessagesAnswer(
        session_id=page.session,
        chat_id=chat,
        messages=[SeenMessageDTO.of(message) for message in found],
        total=len(found),
    )
    return answer(body, headers=FOUND)


@router.post("/chats/{chat}/seen", summary="Mark a chat as read", responses=_with(ChatDone))
@needs("send")
async def seen(page: OnPage, chat: ChatOfPath) -> Response:
    """Mark a chat as read; its senders see it, unless the account hides that."""
    await page.ask("seen", _ANYTHING, Question(chat=chat))
    return answer(ChatDone(session_id=page.session, chat_id=chat))


@router.post("/chats/{chat}/typing", summary='Show or stop "typing…"', responses=_with(ChatDone))
@needs("send")
async def typing(
    page: OnPage,
    chat: ChatOfPath,
    body: Annotated[TypingBody, Body(examples=[{"typing": True}])],
) -> Response:
    """Show "typing…" to the other side of a chat, or stop showing it."""
    question = Question(chat=chat, typing=body.typing)
    await page.ask("typing", _ANYTHING, question)
    return answer(ChatDone(session_id=page.session, chat_id=chat))


@router.get("/groups", summary="Groups of the account", responses=_with(GroupsAnswer))
@needs("read")
async def groups(page: OnPage) -> Response:
    """List the groups this account is a member of, with their members."""
    found = await page.ask("groups", _GROUPS)
    shown = [GroupDTO.of(group) for group in found]
    body = GroupsAnswer(session_id=page.session, groups=shown, total=len(shown))
    return answer(body, headers=FOUND)


@router.get(
    "/numbers/{number}",
    summary="Whether a number is on WhatsApp",
    responses=_with(NumberAnswer),
)
@needs("read")
async def number(
    page: OnPage,
    number: Annotated[Phone, Path(examples=["491701234567"])],
) -> Response:
    """Ask WhatsApp. A number that is not there is an answer, not an error."""
    found = await page.ask("check-number", _NUMBER, Question(number=number))
    body = NumberAnswer(
        session_id=page.session, number=number.partition("@")[0], exists=found.exists, id=found.id
    )
    return answer(body, headers=FOUND)


@router.get(
    "/ids/{contact}",
    summary="Both ids of a contact: phone and LID",
    responses=_with(AddressesAnswer),
)
@needs("read")
async def ids(
    page: OnPage,
    contact: Annotated[Person, Path(examples=["123456789012345@lid"])],
) -> Response:
    """Resolve a phone number to its LID, or a LID to the phone behind it where WhatsApp tells."""
    found = await page.ask("addresses", _ADDRESSES, Question(chat=contact))
    body = AddressesAnswer(session_id=page.session, id=contact, phone=found.phone, lid=found.lid)
    return answer(body, headers=FOUND)
