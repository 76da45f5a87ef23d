"""Files through the whole service, byte for byte: from HTTP to the phone, and back.

Both are then in the history, and given out from where it says they are.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import FRIEND, NUMBER, Service, a_service
from tests.simulator.phone import Message

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class File:
    """A file; `kind` is WhatsApp's word for what it is sent as, `asked` ours for it."""

    asked: str
    kind: str
    mime: str
    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


# Random, so that nothing on the way can make them shorter and right again; the
# document goes in several parts through the page and in twenty chunks through the store.
PICTURE = File("", "image", "image/png", "a view.png", b"\x89PNG\r\n\x1a\n" + os.urandom(300_000))
PDF = File("", "document", "application/pdf", "Rechnung ä.pdf", b"%PDF-1.7" + os.urandom(1_300_000))
OPUS = b"OggS" + bytes(24) + b"OpusHead"
VOICE = File("voice", "ptt", "audio/ogg; codecs=opus", "note.ogg", OPUS + os.urandom(20_000))
FILES = (PICTURE, PDF, VOICE)


async def test_files_reach_the_phone_and_come_from_it_byte_for_byte(tmp_path: Path) -> None:
    async with a_service(tmp_path) as service:
        await service.link()

        sent = [await _sent(service, file) for file in FILES]
        received = [await _incoming(service, file) for file in FILES]

        for file, wa_id in zip(FILES, sent, strict=True):
            [told] = await service.phone.messages(NUMBER, id=wa_id)
            await _is_held_by_whatsapp(service, file, told)
        shown = {m["messageId"]: m for m in await service.history("ann-bot")}
        for file, wa_id in zip(FILES * 2, sent + received, strict=True):
            await _is_given_out(service, file, shown[wa_id])
        assert await service.phone.repeats(NUMBER) == 0


async def _sent(service: Service, file: File) -> str:
    """Upload a file to be sent to the friend; returns WhatsApp's id of the message."""
    answer = await service.http.post(
        "/api/sessions/ann-bot/messages/media",
        data={"to": FRIEND, "caption": file.kind, "kind": file.asked},
        files={"file": (file.name, file.content, file.mime)},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["messageId"]


async def _incoming(service: Service, file: File) -> str:
    """Let the friend send a file, and wait until the history has it; returns its id."""
    wa_id = await service.phone.incoming(
        number=NUMBER,
        sender=FRIEND,
        body=file.kind,
        type=file.kind,
        content=file.content,
        mime=file.mime,
        filename=file.name,
    )

    async def received() -> bool:
        return any(m["messageId"] == wa_id for m in await service.history("ann-bot"))

    await service.until(received, 20, f"{file.kind} received")
    return wa_id


async def _is_held_by_whatsapp(service: Service, file: File, told: Message) -> None:
    content = await service.phone.content(told)
    assert (told.type, told.body) == (file.kind, file.kind)
    assert hashlib.sha256(content).hexdigest() == file.sha256, file.kind
    assert (told.carried["mimetype"], told.carried["filename"]) == (file.mime, file.name)


async def _is_given_out(service: Service, file: File, message: dict[str, Any]) -> None:
    told = {name: message[name] for name in ("type", "mimetype", "filename", "size", "caption")}
    assert told == {
        "type": file.kind,
        "mimetype": file.mime,
        "filename": file.name,
        "size": len(file.content),
        "caption": file.kind,
    }
    answer = await service.http.get(message["mediaUrl"])
    assert answer.status_code == 200, answer.text
    assert hashlib.sha256(answer.content).hexdigest() == file.sha256, file.kind
    assert answer.headers["content-type"] == file.mime
    assert answer.headers["etag"] == f'"{file.sha256}"'
