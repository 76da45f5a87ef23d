"""Routes that send more than text, and the one that gives out what came with a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, File, Form, Path
from fastapi import UploadFile as FormFile
from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from events.asks import Question
from events.content import Contact, Content, Deletion, Kept, Location, Media, MediaKind, Reaction
from events.media import Held, MediaAway, MediaGone, MediaStore, incoming, outgoing
from events.subjects import SessionId
from gateway.answers import SentAnswer, answer, errors
from gateway.broker import BrokerAway
from gateway.budget import Spend
from gateway.callers import Who, needs
from gateway.chat_ids import Phone, To
from gateway.file_bodies import FileBody
from gateway.messages import Once, sent_dto
from gateway.named import OfPath
from gateway.parts import Parts, Use
from gateway.problems import Problem
from gateway.wire import Text, Wire
from projections.views import SessionView

router = APIRouter(prefix="/api/sessions/{id}", tags=["content"])

_ERRORS = errors(400, 404, 409, 413, 422, 429, 503)
_SENT: dict[int | str, dict[str, Any]] = {
    200: {"model": SentAnswer},
    202: {"model": SentAnswer, "description": "Accepted; it is not on the wire yet."},
} | _ERRORS
_FETCHED = _SENT | errors(504)
Open = Callable[[str], Awaitable[UploadFile]]
"""Opens a file that a user sends."""

_ID_PATTERN = r"^[A-Za-z0-9@._:-]+$"
OfMessage = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=_ID_PATTERN,
        description="A messageId, or a key of the history.",
        examples=["3EB0A1B2C3D4E5F6A7B8C9"],
    ),
]
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_TO = {"to": "+49 170 1234567"}
_ABOUT = _TO | {"messageId": "3EB0A1B2C3D4E5F6A7B8C9"}


class LocationBody(Wire):
    """A place to send, in degrees."""

    to: To
    latitude: float = Field(ge=-90, le=90, strict=True)
    longitude: float = Field(ge=-180, le=180, strict=True)
    name: str = Field("", max_length=1_000)
    address: str = Field("", max_length=1_000)


class ContactBody(Wire):
    """A contact card to send."""

    to: To
    name: str = Field(min_length=1, max_length=200)
    phone: Phone


class ReplyBody(Wire):
    """A text that answers a message."""

    to: To
    message: Text
    message_id: OfMessage


class ReactionBody(Wire):
    """A reaction to a message; an empty emoji takes it back."""

    to: To
    message_id: OfMessage
    emoji: str = Field(max_length=32)


class DeletionBody(Wire):
    """A message of ours to delete for everyone."""

    to: To
    message_id: OfMessage


class Outgoing:
    """A message on its way out through the session of the path, and who pays for it."""

    def __init__(
        self, session_id: OfPath, *, parts: Use, caller: Who, spend: Spend, once: Once
    ) -> None:
        self._id, self._once = session_id, once
        self._parts, self._caller, self._spend = parts, caller, spend

    async def send(
        self, to: str, body: str, content: Content | None, *, quoted: str | None = None
    ) -> Response:
        """Send it and answer; raises Problem, BrokerAway and ReadModelsAway."""
        return await self._through(await self._paid(to), to, body, content, quoted)

    async def send_file(
        self, to: str, caption: str, open_file: Open, kind: MediaKind | None
    ) -> Response:
        """Keep a file and send it. It is paid for first: what is kept takes room."""
        view = await self._paid(to)

        async def kept() -> Media:
            file = await open_file(view.user)
            try:
                return await self._parts.uploads.keep(SessionId(view.user, view.bot), file, kind)
            finally:
                await file.close()

        return await self._through(view, to, caption, None, None, file=kept)

    async def send_json(self, body: FileBody) -> Response:
        """Send a file that came as JSON; see send_file."""
        largest, downloads = self._parts.uploads.largest, self._parts.downloads
        opened = partial(body.open, downloads, largest)
        return await self.send_file(body.to, body.caption, opened, body.kind)

    async def _paid(self, to: str) -> SessionView:
        view = await self._parts.directory.by_id(self._id, self._caller)
        session = SessionId(view.user, view.bot)
        await self._parts.strangers.pay(self._spend, view.user, [session], to)
        return view

    async def _through(
        self,
        view: SessionView,
        to: str,
        body: str,
        content: Content | None,
        quoted: str | None,
        *,
        file: Callable[[], Awaitable[Media]] | None = None,
    ) -> Response:
        delivery = await self._parts.sender.through(
            view, to, body, self._once, content=content, quoted=quoted, file=file
        )
        return answer(SentAnswer(data=sent_dto(delivery)), 200 if delivery.is_sent else 202)


Out = Annotated[Outgoing, Depends()]


@router.post("/messages/location", summary="Send a place", responses=_SENT)
@needs("send")
async def location(
    body: Annotated[LocationBody, Body(examples=[_TO | {"latitude": 52.5, "longitude": 13.4}])],
    out: Out,
) -> Response:
    """Send a place; name and address show below the map."""
    content = Location(
        latitude=body.latitude, longitude=body.longitude, name=body.name, address=body.address
    )
    return await out.send(body.to, "", content)


@router.post("/messages/contact", summary="Send a contact card", responses=_SENT)
@needs("send")
async def contact(
    body: Annotated[
        ContactBody, Body(examples=[_TO | {"name": "Ada", "phone": "+49 170 7654321"}])
    ],
    out: Out,
) -> Response:
    """Send the card of somebody who is on WhatsApp."""
    content = Contact(name=body.name, phone=body.phone)
    return await out.send(body.to, "", content)


@router.post("/messages/reply", summary="Answer a message", responses=_SENT)
@needs("send")
async def reply(
    body: Annotated[ReplyBody, Body(examples=[_ABOUT | {"message": "Two, please"}])],
    out: Out,
) -> Response:
    """Send a text that quotes a message of the chat."""
    return await out.send(body.to, body.message, None, quoted=body.message_id)


@router.post("/messages/reaction", summary="React to a message", responses=_SENT)
@needs("send")
async def reaction(
    body: Annotated[ReactionBody, Body(examples=[_ABOUT | {"emoji": "👍"}])],
    out: Out,
) -> Response:
    """React to a message, or take the reaction back."""
    content = Reaction(target=body.message_id, emoji=body.emoji)
    return await out.send(body.to, "", content)


@router.post("/messages/delete", summary="Delete a message for everyone", responses=_SENT)
@needs("send")
async def delete(
    body: Annotated[DeletionBody, Body(examples=[_ABOUT])],
    out: Out,
) -> Response:
    """Delete a message of ours, on every phone that has it."""
    return await out.send(body.to, "", Deletion(target=body.message_id))


@router.post("/messages/media", summary="Send a file", responses=_SENT)
@needs("send")
async def media(
    *,
    file: Annotated[FormFile, File(description="The file; its name is shown to the receiver.")],
    to: Annotated[To, Form()],
    out: Out,
    caption: Annotated[str, Form(max_length=65_536)] = "",
    kind: Annotated[MediaKind | Literal[""], Form(description="Unset: by the file's type.")] = "",
) -> Response:
    """Send a picture, a video, a sound, a voice note or any document, as multipart/form-data.

    `MEDIA_MAX_MB` and `MEDIA_TYPES` say what is taken; the file's first bytes go
    before what is said of its type.
    """

    async def opened(_: str) -> UploadFile:
        return file

    return await out.send_file(to, caption, opened, kind or None)


@router.post("/messages/file", summary="Send a file by URL or in base64", responses=_FETCHED)
@needs("send")
async def file_of_body(
    body: Annotated[
        FileBody,
        Body(
            examples=[
                _TO | {"url": "https://example.org/a.png", "caption": "Look"},
                _TO | {"base64": "JVBERi0xLjQ=", "filename": "invoice.pdf"},
            ]
        ),
    ],
    out: Out,
) -> Response:
    """Send any file that the JSON holds, or that a URL gives.

    The URL must lead to a public address, unless `WEBHOOK_ALLOW_PRIVATE` opens others; its
    redirects as well. `MEDIA_MAX_MB`, `MEDIA_TYPES` and `MEDIA_TIMEOUT` say what is taken.
    """
    return await out.send_json(body)


@router.get(
    "/media/{messageId}",
    summary="The file of a message",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": _BYTES}}} | errors(400, 404, 409, 503),
)
@needs("read")
async def file(
    session_id: OfPath,
    message_id: Annotated[
        str, Path(alias="messageId", min_length=1, max_length=200, pattern=_ID_PATTERN)
    ],
    parts: Use,
    caller: Who,
) -> Response:
    """Give out a file, as its message's `mediaUrl` names it or by the message's own id.

    One that is not kept is fetched from WhatsApp, where it still is.
    """
    view = await parts.directory.by_id(session_id, caller)
    session = SessionId(view.user, view.bot)
    bare = message_id.split("_")[2] if message_id.count("_") >= 2 else message_id
    try:
        try:
            held = await _kept(parts.uploads.store, session, bare)
        except MediaGone:
            await _fetch(parts, session, message_id)
            held = await parts.uploads.store.get(incoming(session, bare))
        content = await held.whole()
    except MediaGone:
        raise Problem(404, "no_media", "The file of this message is not kept.") from None
    except MediaAway as error:
        raise BrokerAway from error
    return Response(content, headers=_headers(held))


async def _kept(store: MediaStore, session: SessionId, file: str) -> Held:
    """Look a file up, received or sent; raises MediaGone and MediaAway."""
    try:
        return await store.get(incoming(session, file))
    except MediaGone:
        return await store.get(outgoing(session, file))


async def _fetch(parts: Parts, session: SessionId, message: str) -> None:
    """Have the owner fetch a file into the store; raises Problem with its reason."""
    told = await parts.asks.ask(session, "media", Question(message=message), timeout=35)
    try:
        kept = Kept.model_validate(told)
    except ValidationError:
        raise Problem(503, "bad_answer", "The session's answer makes no sense.") from None
    if kept.object is None:
        detail = f"The file of this message cannot be had: {kept.reason}."
        raise Problem(404, kept.reason or "no_media", detail)


def _headers(held: Held) -> dict[str, str]:
    name = quote(held.name or "file", safe="")
    return {
        "Content-Type": held.mime,
        # A stranger sent it: a browser is to save it, and never to show or run it.
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-store",
        "ETag": f'"{held.sha256}"',
    }
