"""Catching up: the page is asked for what came since the watermark, and for the files of it."""

from __future__ import annotations

from datetime import timedelta

from actors.browser.protocol import MessageSeen
from actors.keeping import Keeper, lost
from actors.session_messages import CaughtUp, Fetched
from actors.session_parts import SessionParts

OVERLAP = timedelta(minutes=30)
"""How far behind the newest received message a catch-up begins: chats arrive out of step."""


class CatchUp:
    """Reads one session's page. What it finds comes back as a message."""

    def __init__(self, own: SessionParts, keeper: Keeper) -> None:
        self._own, self._keeper = own, keeper
        self._reading = 0

    def is_latest(self, reading: int) -> bool:
        """Whether no reading was begun after this one."""
        return reading == self._reading

    def read(self) -> bool:
        """Ask for what came since the watermark; False if there is no page to ask."""
        own = self._own
        life, browser = own.life.number, own.life.browser
        if browser is None:
            return False
        self._reading += 1
        reading = self._reading
        watermark = own.recorder.outbox.watermark
        since = watermark - OVERLAP if watermark else own.state.linked_at
        if since is not None:
            # Of what is older the log has forgotten whether it was recorded.
            kept = timedelta(days=own.node.settings.message_days)
            since = max(since, own.node.clock.now() - kept)
            # WhatsApp tells whole seconds: what came in the very second of the link lies before it.
            since = since.replace(microsecond=0)
        own.node.loop.run(
            browser.messages_since(since),
            then=lambda messages: own.tell_me(CaughtUp(life, reading, messages)),
            failed=lambda error: own.tell_me(CaughtUp(life, reading, error)),
        )
        return True

    def keep(self, seen: MessageSeen) -> None:
        """Have the media of a message fetched and kept; what comes of it is a message."""
        own, wa_id = self._own, seen.wa_id
        life, browser = own.life.number, own.life.browser
        if browser is None:
            return  # Nothing of it is recorded: the next catch-up brings it again.
        own.node.loop.run(
            self._keeper.keep(browser, seen.key, seen.media),
            then=lambda kept: own.tell_me(Fetched(life, wa_id, kept)),
            failed=lambda error: own.tell_me(Fetched(life, wa_id, lost(seen.media, error))),
        )
