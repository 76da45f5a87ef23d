"""`Idempotency-Key` on every POST: the same key does nothing twice.

After draft-ietf-httpapi-idempotency-key-header: a key that is used again for
another request is a 422, one whose first request is still under way a 409. An
outcome is kept when something was done (2xx) or decided for good (422); what
says "not now" or "not like this" did nothing, and frees the key.

A gateway shows every second that a request is under way. One that is silent has
died, and whoever asks again carries the request out: what POSTs do here (start,
stop, log out, deliver again) may be done twice, but for sends, and for making an
API key, of which one that nobody was told is left in the list.

Of a send that only waits, asking again tells how it stands: its record says that it
was handed over, so nothing is handed over again (gateway/keyed.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import time

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import remembered
from gateway.access import path_of
from gateway.auth import key_of
from gateway.broker import BrokerAway
from gateway.keyed import Keyed, under_way
from gateway.problems import Problem, broker_away
from gateway.quotas import SENDS
from gateway.remembered import LARGEST, Claim, Held, Remembered, Secret, Told

log = structlog.get_logger()

LONGEST = 255
RULE = f"must be 1 to {LONGEST} printable ASCII characters"
_KEY = re.compile(rf"[ -~]{{1,{LONGEST}}}")
QUEUED = 202
PATIENCE = 2.0
"""Seconds that a send waits for the one before it under the same key."""

LONGEST_JSON = 1_000_000
"""Bytes of a body up to which it is compared by what it says."""

LOOK = 0.05
"""Seconds between two looks at a request that is under way."""


class Idempotency:
    """ASGI middleware, behind Auth and Bodies."""

    def __init__(self, app: ASGIApp, remembered: Remembered) -> None:
        self._app = app
        self._remembered = remembered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Who is nobody is turned away behind this, and leaves no record here.
        known = _is_post(scope) and "caller" in scope["state"]
        keys = Headers(scope=scope).getlist("idempotency-key") if known else []
        if not keys:
            await self._app(scope, receive, send)
            return
        try:
            await self._once(_checked(keys), scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except BrokerAway:
            await broker_away().response()(scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        route = f"POST {scope['path']}?{scope['query_string'].decode('latin-1')}"
        secret = Secret.of(key_of(scope) or "", route, key)
        body, receive = await _read(scope, receive)
        fingerprint = digest(body)
        is_send = SENDS.fullmatch(scope["path"]) is not None
        begun = await self._begin(secret, fingerprint, is_send=is_send)
        found = begun if isinstance(begun, Claim) else begun.record
        keyed = Keyed(key, self._remembered, secret, found) if is_send else None
        scope["state"]["keyed"] = keyed
        if isinstance(begun, Claim):
            await self._first(begun, keyed, scope, receive, send)
            return
        budget = scope["state"]["budget"]
        budget.user, budget.free = begun.record.user, True
        told = begun.record.told
        if told is None or (is_send and told.status == QUEUED):
            await self._again(begun, keyed, scope, receive, send)
        else:
            await _replay(told)(scope, receive, send)

    async def _again(
        self, held: Held, keyed: Keyed | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let a send through whose outcome is not known yet, and keep what it has come to."""
        answer: list[Message] = []

        async def noted(message: Message) -> None:
            answer.append(message)
            await send(message)

        await self._app(scope, receive, noted)
        told = _told(answer)
        if keyed is None or told is None or held.record.stage == "begun":
            return
        is_news = held.record.told is None or told.status != QUEUED
        if is_news and _settles(told, keyed):
            with contextlib.suppress(BrokerAway):
                await keyed.amend(held, told)

    async def _begin(self, secret: Secret, fingerprint: str, *, is_send: bool) -> Held | Claim:
        """Claim the key, or return the request that has it. Raises Problem 409, 422.

        A send whose first request takes long goes on all the same: the key is the
        message's own id, so it is sent once whoever asks.
        """
        began, seen = time.monotonic(), 0
        while True:
            found = await self._remembered.begin(secret, fingerprint)
            if isinstance(found, Claim):
                return found
            if found.record.fingerprint != fingerprint:
                raise Problem(
                    422,
                    "key_reused",
                    "This Idempotency-Key came with another request before; take a new one.",
                )
            if found.record.stage == "done":
                return found
            waited = time.monotonic() - began
            # No clocks are compared: a sign of life is another revision than the first seen.
            seen = seen or found.revision
            lives = found.revision != seen
            if lives and is_send and waited >= PATIENCE:
                return found
            if lives and not is_send:
                raise under_way()
            if not lives and waited >= remembered.ABANDONED:
                claim = await self._remembered.take_over(secret, fingerprint, found)
                if claim is not None:
                    log.info("idempotency.taken_over")
                    return claim
            await asyncio.sleep(LOOK)

    async def _first(
        self, claim: Claim, keyed: Keyed | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let a request through, and keep its outcome before the client has it."""
        answer: list[Message] = []

        async def held_back(message: Message) -> None:
            answer.append(message)

        told: Told | None = None
        over = asyncio.Event()
        showing = asyncio.create_task(self._show_life(claim, over))
        try:
            await self._app(scope, receive, held_back)
            told = _told(answer)
        finally:
            over.set()
            # Not cancelled: whether a write under way landed would be unknown.
            await showing
            try:
                await self._settle(claim, told, keyed, scope["state"]["budget"].user)
            except BrokerAway:
                # It is done all the same, and its client must hear of it.
                log.warning("idempotency.not_kept", path=path_of(scope))
        for message in answer:
            await send(message)

    async def _show_life(self, claim: Claim, over: asyncio.Event) -> None:
        """Renew a claim every second until its request is over."""
        while not over.is_set():
            try:
                async with asyncio.timeout(remembered.RENEW):
                    await over.wait()
            except TimeoutError:
                try:
                    if not await self._remembered.renew(claim):
                        return
                except BrokerAway:
                    log.debug("idempotency.not_renewed")

    async def _settle(
        self, claim: Claim, told: Told | None, keyed: Keyed | None, user: str | None
    ) -> None:
        in_doubt = keyed is not None and keyed.in_doubt
        if told is not None and _settles(told, keyed):
            await self._remembered.finish(claim, user, told)
        elif in_doubt:
            # Nobody knows whether it was handed over; if it goes again, then the same way.
            await self._remembered.finish(claim, user, None)
        else:
            await self._remembered.forget(claim)


def _is_post(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST"


def _checked(keys: list[str]) -> str:
    """Return the one key of a request; raises Problem 400."""
    if len(keys) > 1:
        raise Problem(400, "bad_input", "Idempotency-Key must come once.")
    if not _KEY.fullmatch(keys[0]):
        raise Problem(400, "bad_input", f"Idempotency-Key {RULE}.")
    return keys[0]


def digest(body: bytes) -> str:
    """Digest what was asked: JSON by what it says, however it is spaced and in whatever order."""
    # More is a file, and that is sent again as it was.
    if len(body) <= LONGEST_JSON:
        with contextlib.suppress(ValueError, RecursionError):
            body = json.dumps(json.loads(body), sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest()


async def _read(scope: Scope, receive: Receive) -> tuple[bytes, Receive]:
    """Read the body, and give it back to be read again. Raises Problem 413, ClientDisconnect.

    A form is not read: it may be large, and its boundary is another one each time.
    """
    if Headers(scope=scope).get("content-type", "").startswith("multipart/"):
        return b"", receive
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return body, again


def _settles(told: Told, keyed: Keyed | None) -> bool:
    """Whether asking again is to have this answer.

    A message that was not handed over may go another time: the file that it is to bring
    may be there then.
    """
    if len(told.body) > LARGEST:
        return False
    if keyed is not None:
        return (keyed.accepted or keyed.in_doubt) and _is_outcome(told.status)
    return 200 <= told.status < 300 or told.status == 422


def _is_outcome(status: int) -> bool:
    """Whether this is what became of a message: 422 is one that failed, 409 one that expired."""
    return 200 <= status < 300 or status in {409, 422}


def _told(answer: list[Message]) -> Told | None:
    """Put an answer together; None if it is not whole."""
    if not answer or answer[-1].get("more_body", False):
        return None
    start, *chunks = answer
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]
    ]
    body = b"".join(chunk.get("body", b"") for chunk in chunks)
    return Told(status=start["status"], headers=headers, body=body)


def _replay(told: Told) -> Response:
    """Give an answer again, and say that it is one."""
    response = Response(told.body, told.status)
    response.raw_headers = [
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in told.headers),
        (b"idempotency-replayed", b"true"),
    ]
    return response
