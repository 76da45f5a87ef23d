"""API keys: made, found, revoked. Kept in a bucket, watched in memory.

A request is answered from memory, so a valid key stays one while NATS is away (and so,
then, does one that was revoked elsewhere meanwhile). A
key that memory does not hold is looked for in the bucket before it is refused, and
while the bucket cannot be asked the answer is 503: 401 would tell a client to throw
a good key away. What can never have been a key of ours is refused at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import secrets
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from nats.js import errors as js_errors
from pydantic import BaseModel, ConfigDict, ValidationError

from events import subjects
from events.clock import utc_now
from events.connection import AWAY
from events.log import Hole, LogAway
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.callers import FIRST, Caller, Scope
from gateway.problems import Problem, broker_away

log = structlog.get_logger()

_SECRET = re.compile(r"wak_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_SUBJECT = f"$KV.{subjects.KEYS}."
_ALL = f"{_SUBJECT}>"
_NO_KEY = "0" * 64

LOOK = 60.0
"""Seconds at most between looks at the clock for a key that will expire."""

AGAIN = 1.0
"""Seconds until the bucket is asked again about a key that memory has lost."""


class KeyLost(Exception):
    """A key is worth nothing any more, and what it opened must close."""

    def __init__(self, reason: Literal["key_revoked", "key_expired"]) -> None:
        self.reason: Literal["key_revoked", "key_expired"] = reason
        word = "was revoked" if reason == "key_revoked" else "has expired"
        super().__init__(f"this API key {word}; come back with another one")


class Key(BaseModel):
    """A key as it is kept. The secret itself is nowhere, only its digest."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    user: str | None
    scopes: frozenset[Scope]
    created: datetime
    expires: datetime | None = None
    digest: str

    @property
    def caller(self) -> Caller:
        """Whom the key stands for."""
        return Caller(self.id, self.user, self.scopes)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key, and the only sight of its secret."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True)
class _Held:
    """What the bucket said of an id, at a revision; no key: it was revoked."""

    revision: int
    key: Key | None


class Keyring:
    """All keys. Changes raise BrokerAway."""

    def __init__(self, broker: Broker, first: str) -> None:
        self._broker = broker
        self._log = BrokerLog(broker, f"KV_{subjects.KEYS}")
        self._first = digest(first)
        self._held: dict[str, _Held] = {}
        self._changed = asyncio.Event()

    async def caller(self, secret: str) -> Caller:
        """Tell whose key this is; raises Problem 401, or 503 while that cannot be told."""
        told = digest(secret)
        # compare_digest on digests of one length: the time it takes tells nothing.
        if hmac.compare_digest(told, self._first):
            return Caller()
        known = _SECRET.fullmatch(secret)
        if known is None:
            raise _unknown()
        key = await self._find(known[1])
        if not hmac.compare_digest(told, _NO_KEY if key is None else key.digest) or key is None:
            raise _unknown()
        if key.expires is not None and key.expires <= utc_now():
            raise Problem(401, "key_expired", "This API key has expired.")
        return key.caller

    async def lost(self, caller: Caller) -> None:
        """Raise KeyLost as soon as a caller's key is revoked or expires; until then, wait.

        For what a key opened and holds open. While NATS is away a known key is good.
        """
        while True:
            changed, wait = self._changed, None
            held = self._held.get(caller.id)
            if held is None and caller.id != FIRST:
                # The bucket was made anew, and the watch has not seen the key in it.
                with contextlib.suppress(BrokerAway):
                    if await self._look_up(caller.id) is None:
                        raise KeyLost("key_revoked")
                wait = AGAIN
            elif held is not None:
                if held.key is None:
                    raise KeyLost("key_revoked")
                if held.key.expires is not None:
                    left = (held.key.expires - utc_now()).total_seconds()
                    if left <= 0:
                        raise KeyLost("key_expired")
                    wait = min(left, LOOK)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), wait)

    async def mint(
        self, name: str, user: str | None, scopes: frozenset[Scope], expires: datetime | None
    ) -> Minted:
        """Make a key and keep it."""
        key_id = secrets.token_hex(8)
        secret = f"wak_{key_id}_{secrets.token_urlsafe(32)}"
        key = Key(
            id=key_id,
            name=name,
            user=user,
            scopes=scopes,
            created=utc_now(),
            expires=expires,
            digest=digest(secret),
        )
        await self._put(key.id, key)
        log.info("keys.made", id=key_id, user=user, scopes=sorted(scopes))
        return Minted(key, secret)

    async def all(self) -> list[Key]:
        """List every key, oldest first. Asks the bucket itself."""
        try:
            async for stored in self._log.read([_ALL]):
                self._take(stored.subject, stored.position, stored.raw)
        except (LogAway, Hole) as error:
            raise BrokerAway from error
        keys = [held.key for held in self._held.values() if held.key is not None]
        return sorted(keys, key=lambda key: (key.created, key.id))

    async def revoke(self, key_id: str) -> Key | None:
        """Make a key worth nothing; None if there is no such key."""
        key = await self._look_up(key_id)
        if key is not None:
            await self._put(key_id, None)
            log.info("keys.revoked", id=key_id)
        return key

    async def watch(self) -> None:
        """Follow the bucket for ever. Ends by cancellation only."""
        while True:
            await self._broker.until_connected()
            try:
                await self._follow()
            except (LogAway, Hole) as error:
                log.debug("keys.watch_cut", error=type(error).__name__)
            await asyncio.sleep(0.2)

    async def _follow(self) -> None:
        told: set[str] | None = set()
        # From the beginning each time: keys are few, and a bucket that was made
        # anew must not be read from where the old one ended.
        async with aclosing(self._log.follow([_ALL], 1)) as entries:
            async for stored in entries:
                if stored is not None:
                    key_id = self._take(stored.subject, stored.position, stored.raw)
                    if told is not None:
                        told.add(key_id)
                elif told is not None:
                    # What the bucket does not know any more is asked for again before
                    # it is believed.
                    self._held = {
                        key_id: held for key_id, held in self._held.items() if key_id in told
                    }
                    told = None
                    self._tell()

    def _tell(self) -> None:
        """Wake all who hold something open."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _take(self, subject: str, revision: int, raw: bytes) -> str:
        """Remember an entry of the bucket unless it is older than what is known; return its id."""
        key_id = subject.removeprefix(_SUBJECT)
        held = self._held.get(key_id)
        if held is None or held.revision <= revision:
            self._held[key_id] = _Held(revision, _decoded(raw))
            self._tell()
        return key_id

    async def _find(self, key_id: str) -> Key | None:
        held = self._held.get(key_id)
        if held is not None:
            return held.key
        try:
            return await self._look_up(key_id)
        except BrokerAway:
            raise broker_away() from None

    async def _look_up(self, key_id: str) -> Key | None:
        """Ask the bucket itself; raises BrokerAway."""
        try:
            # Not a direct get: a follower of a cluster may answer those with old news.
            entry = await self._broker.jetstream.get_last_msg(
                f"KV_{subjects.KEYS}", _SUBJECT + key_id, direct=False
            )
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        self._take(_SUBJECT + key_id, entry.seq or 0, entry.data or b"")
        return self._held[key_id].key

    async def _put(self, key_id: str, key: Key | None) -> None:
        raw = b"" if key is None else key.model_dump_json().encode()
        try:
            ack = await self._broker.jetstream.publish(
                _SUBJECT + key_id, raw, headers={"KV-Operation": "DEL"} if key is None else None
            )
        except AWAY as error:
            raise BrokerAway from error
        # At once here; the other gateways hear of it.
        self._take(_SUBJECT + key_id, ack.seq, raw)


def digest(secret: str) -> str:
    """Return the form in which a key is kept and compared.

    SHA-256 and no slow hash: those make guessing dear where people choose the
    secret. A key is 256 random bits, which nobody guesses at any price, and it
    is checked with every request.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _decoded(raw: bytes) -> Key | None:
    if not raw:
        return None
    try:
        return Key.model_validate_json(raw)
    except ValidationError as error:
        # A newer writer may say what this process does not know: better closed than open.
        log.warning("keys.unreadable", errors=error.error_count())
        return None


def _unknown() -> Problem:
    return Problem(401, "unknown_key", "This API key is not known.")
