"""Keeping the media of received messages: out of the page, into the object store.

A failure never holds up the message: it is then recorded with the reason. Where
WhatsApp still has the file, it can be asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib

import structlog

from actors.browser.protocol import Browser, BrowserError, MediaSeen, PageGone, PageRefused
from events import media
from events.content import Kept, file_name
from events.media import MediaAway, MediaStore
from events.subjects import SessionId

log = structlog.get_logger()

AT_ONCE = 3
"""Files that one page downloads at the same time."""


class Keeper:
    """One session's media. Its coroutines run on the loop thread."""

    def __init__(self, session: SessionId, store: MediaStore, largest: int, timeout: float) -> None:
        """`largest` in bytes, 0 keeps nothing; `timeout` in seconds for a file and its wait."""
        self._session, self._store = session, store
        self._largest, self._timeout = largest, timeout
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def keep(self, browser: Browser, message: str, about: MediaSeen | None = None) -> Kept:
        """Fetch the media of a message, by its bare id or its key, and say what came of it."""
        told = Kept(
            mime=about.mime if about else "application/octet-stream",
            name=file_name(about.name) if about else None,
            size=about.size if about else None,
            sha256=about.sha256 if about else None,
        )
        if (told.size or 0) > self._largest:
            return _without(told, "too_large")
        try:
            async with asyncio.timeout(self._timeout), self._turns:
                return await self._keep(browser, message)
        except TimeoutError:
            return _without(told, "timeout")
        except PageRefused as refused:
            known = {"too_large", "not_found"}
            return _without(told, refused.code if refused.code in known else "not_found")
        except PageGone:
            return _without(told, "page_gone")
        except BrowserError:
            return _without(told, "timeout")
        except MediaAway:
            return _without(told, "store_away")

    async def _keep(self, browser: Browser, message: str) -> Kept:
        file = await browser.fetch_media(message, self._largest)
        bare = message.split("_")[2] if "_" in message else message
        name = media.incoming(self._session, bare)
        told = file_name(file.name)
        await self._store.put(name, file.content, file.mime, told)
        return Kept(
            mime=file.mime,
            name=told,
            size=len(file.content),
            sha256=hashlib.sha256(file.content).hexdigest(),
            object=name,
        )


def lost(about: MediaSeen | None, error: Exception) -> Kept:
    """Say that a mistake of ours kept the media from being kept."""
    log.error("keeping.failed", error=type(error).__name__)
    mime = about.mime if about else "application/octet-stream"
    return Kept(mime=mime, reason="failed")


def _without(told: Kept, reason: str) -> Kept:
    return told.model_copy(update={"reason": reason})
