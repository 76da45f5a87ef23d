"""Trying a send in the page, behind the page's breaker."""

from __future__ import annotations

from dataclasses import replace

from actors.browser.protocol import (
    Browser,
    BrowserError,
    MessageSeen,
    NotSent,
    PageGone,
    PageRefused,
    PageReloaded,
    PageTimeout,
    Parcel,
)
from actors.inbox import Delivered
from actors.operations import Operations
from actors.sending import RETRY, GaveUp, Tried
from actors.session_parts import SessionParts
from events.content import Deletion, Media, Reaction
from events.media import MediaAway, MediaGone, MediaStore
from events.message import Send


class StoreAway(BrowserError):
    """The media to send cannot be read now. Nothing was done."""


class Mistake(BrowserError):
    """A mistake of ours ended the try. Whether anything was sent is not known."""


class LookUpFailed(BrowserError):
    """The page could not say whether it holds a message."""


REFUSALS = 5
"""How often the page may refuse to take a message before that is its outcome."""

GIVEN_UP = 3
"""Messages in a row that may end so; then it is the page, and they wait for a better one."""

PATIENCE = 30.0
"""Seconds between the tries of a page that takes nothing."""


class Tries:
    """One session's tries at sends. Used on the session's own thread only."""

    def __init__(self, own: SessionParts, operations: Operations) -> None:
        self._own, self._operations = own, operations
        self._under_way: dict[str, Delivered] = {}
        self._refusals: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._given_up = 0

    def renew(self) -> None:
        """Begin with another page, which may take what the last one did not."""
        self._refusals.clear()

    def begin(self, send: Send, delivered: Delivered, look_up: bool, wa_id: str) -> None:
        """Look a send up, or make it, in the page; it ends in `Tried`, or comes again later."""
        own, browser = self._own, self._own.life.browser
        if send.message in self._under_way:
            # A large file takes longer than the queue waits: the same try settles this one.
            self._under_way[send.message] = delivered
            return
        if browser is None:
            delivered.receipt.later(RETRY)
            return
        call = self._operations.admit()
        if call is None:
            delivered.receipt.later(self._operations.retry_in)
            return

        self._under_way[send.message] = delivered
        if look_up and send.message not in self._refusals:
            self._unknown.add(send.message)

        def mistaken(error: Exception) -> None:
            own.log.error("send.mistake", error=type(error).__name__)
            own.tell_me(Tried(send, delivered, call, Mistake(type(error).__name__)))

        own.node.loop.run(
            try_in_page(browser, send, wa_id, look_up, own.node.media),
            then=lambda outcome: own.tell_me(Tried(send, delivered, call, outcome)),
            failed=mistaken,
        )

    def ended(self, tried: Tried) -> Tried:
        """Give the call back to the breaker, with what its outcome says of the page.

        Returns what came of the try, for the delivery that is to be settled now.
        """
        message = tried.send.message
        tried = replace(tried, delivered=self._under_way.pop(message, tried.delivered))
        refused = isinstance(tried.outcome, PageRefused) and tried.outcome.code != "not_ready"
        if refused:
            return self._refused(tried)
        if isinstance(tried.outcome, MessageSeen | NotSent):
            self._settled(message)
            self._given_up = 0
        elif isinstance(tried.outcome, PageTimeout | PageGone | Mistake):
            self._unknown.add(message)
        match tried.outcome:
            case PageGone() | PageReloaded() | StoreAway() | Mistake():
                self._operations.ended(tried.call)
            case NotSent() | MessageSeen() | None:
                self._operations.worked(tried.call)
            case BrowserError():
                self._operations.failed(tried.call)
        return tried

    def _refused(self, tried: Tried) -> Tried:
        """Try a few times what the page does not take, then let what waits behind it pass.

        It may be the message, a broken file for one, so only its last refusal counts as
        the page's failure.
        """
        message = tried.send.message
        refusals = self._refusals[message] = self._refusals.get(message, 0) + 1
        if refusals < REFUSALS:
            self._operations.ended(tried.call)
            return replace(tried, again=RETRY * 2**refusals)
        self._operations.failed(tried.call)
        if self._given_up >= GIVEN_UP:
            return replace(tried, again=PATIENCE)
        self._given_up += 1
        unknown = message in self._unknown
        self._settled(message)
        word = "refused_by_page"
        return replace(tried, outcome=GaveUp(word) if unknown else NotSent(word))

    def _settled(self, message: str) -> None:
        self._refusals.pop(message, None)
        self._unknown.discard(message)


async def try_in_page(
    browser: Browser, send: Send, wa_id: str, look_up: bool, media: MediaStore
) -> MessageSeen | BrowserError | None:
    """Look a message up, or send it, in the page. Errors are answers."""
    try:
        # A reaction and a deletion have no id to look for, and twice is once.
        if look_up and not isinstance(send.content, Reaction | Deletion):
            return await _find(browser, send, wa_id)
        attachment = b""
        if isinstance(send.content, Media):
            attachment = await (await media.get(send.content.object)).whole()
        parcel = Parcel(send.body, send.content, send.quoted, attachment)
        return await browser.send(send.to, parcel, wa_id)
    except MediaGone:
        return NotSent("media_gone")
    except MediaAway:
        return StoreAway("the object store cannot be reached")
    except BrowserError as error:
        return error


async def _find(browser: Browser, send: Send, wa_id: str) -> MessageSeen | None:
    try:
        return await browser.find_message(send.to, wa_id)
    except PageRefused as error:
        raise LookUpFailed(error.code) from error
