"""Bytes into a page and out of it, in parts.

A frame of DevTools holds up all others of its page while it is written and read:
in parts of 1 MB a liveness probe comes through while 16 MB are on their way.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from secrets import token_hex

from pydantic import BaseModel, ConfigDict, TypeAdapter

from actors.browser.page import WhatsAppPage
from actors.browser.protocol import BrowserError, File, PageRefused
from actors.browser.sightings import NOTHING, TEXT

PART = 1_048_576
"""Bytes of a part before base64."""


class _Opened(BaseModel):
    model_config = ConfigDict(frozen=True)

    failed: str | None = None
    token: str = ""
    size: int = 0
    mime: str = ""
    name: str | None = None


_OPENED = TypeAdapter(_Opened)


async def put(page: WhatsAppPage, content: bytes) -> str:
    """Hand bytes to the page; returns the token under which it holds them until they are sent."""
    token = token_hex(8)
    try:
        for start in range(0, len(content), PART):
            part = base64.b64encode(content[start : start + PART]).decode()
            await page.ask(NOTHING, "put", token, part)
    except BrowserError:
        await _drop(page, token)
        raise
    return token


async def fetch(page: WhatsAppPage, message: str, largest: int, timeout: float) -> File:
    """Let the page download the media of a message, and take it out.

    Raises PageRefused ("too_large", "not_found") and what a call into the page raises.
    """
    opened = await page.ask(_OPENED, "open", message, largest, timeout=timeout)
    if opened.failed is not None:
        raise PageRefused(opened.failed)
    content = bytearray()
    try:
        while len(content) < opened.size:
            part = await page.ask(TEXT, "take", opened.token, len(content), len(content) + PART)
            if not part:
                raise PageRefused("not_found", "the file ended before its end")
            content += base64.b64decode(part)
    finally:
        await _drop(page, opened.token)
    return File(opened.mime, opened.name, bytes(content))


async def _drop(page: WhatsAppPage, token: str) -> None:
    # A page that is gone holds nothing.
    with suppress(BrowserError):
        await page.ask(NOTHING, "drop", token)
