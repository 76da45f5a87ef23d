"""What POSTs with an `Idempotency-Key` came to, for a day, in JetStream.

An answer may hold a credential (a QR code, a new key), and the broker's disk is
no place for one. So each record is sealed under a key made of what only the
caller has: the API key and the idempotency key together. Neither is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.js import errors as js_errors
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict, ValidationError

from events import subjects
from events.clock import utc_now
from events.connection import AWAY
from events.envelope import new_id
from gateway.broker import Broker, BrokerAway

RENEW = 1.0
"""Seconds between two signs that a request is still under way."""

ABANDONED = 5.0
"""Seconds without such a sign after which a request is given up: its gateway has died."""

LARGEST = 1_000_000
"""Bytes of an answer that is remembered; the broker takes twice as much in one message."""

_NONCE = 12


class Told(BaseModel):
    """An answer as it was given."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Record(BaseModel):
    """A request that came under a key, and its answer once there is one.

    `user` is whose quota the request fell under, `by` the claim that wrote this, and
    `session` through which one a send goes, once that is chosen.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    at: datetime
    by: str = ""
    stage: Literal["begun", "done"] = "begun"
    session: str | None = None
    user: str | None = None
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """What a caller came with. `place` is where its record lies; it tells nothing of the rest."""

    place: str
    seal: bytes

    @classmethod
    def of(cls, api_key: str, route: str, key: str) -> Secret:
        """Derive both from an API key, a method with its path, and an idempotency key."""
        told = b"\0".join(part.encode("utf-8", "surrogateescape") for part in (route, key))
        made = hmac.new(api_key.encode("utf-8", "surrogateescape"), told, hashlib.sha512).digest()
        return cls(place=made[:32].hex(), seal=made[32:])


@dataclass(frozen=True, slots=True)
class Held:
    """A record with the revision that may replace it."""

    record: Record
    revision: int


@dataclass(slots=True)
class Claim:
    """A request that has its key for itself, until it is settled or its gateway falls silent."""

    id: str
    secret: Secret
    fingerprint: str
    revision: int
    session: str | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of its own writes, which come from two tasks."""

    def record(self) -> Record:
        """Write that the request is under way."""
        return Record(fingerprint=self.fingerprint, at=utc_now(), by=self.id, session=self.session)

    def settled(self, user: str | None, told: Told | None) -> Record:
        """Write that it is over."""
        return self.record().model_copy(update={"stage": "done", "user": user, "told": told})


class Remembered:
    """The bucket. Every call raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def begin(self, secret: Secret, fingerprint: str) -> Held | Claim:
        """Claim a key for a request, or return what is there already."""
        claim = Claim(new_id(), secret, fingerprint, 0)
        while not await self._claimed(claim):
            held = await self.look(secret)
            if held is not None:
                return held
        return claim

    async def take_over(self, secret: Secret, fingerprint: str, held: Held) -> Claim | None:
        """Claim the key of a request that was given up; None if it shows a sign after all."""
        claim = Claim(new_id(), secret, fingerprint, held.revision, held.record.session)
        return claim if await self._claimed(claim) else None

    async def renew(self, claim: Claim) -> bool:
        """Show that a request is under way; False if somebody took it for abandoned."""
        return await self._replace(claim, claim.record())

    async def look(self, secret: Secret) -> Held | None:
        """Read what is there."""
        try:
            entry = await self._bucket().get(secret.place)
        except js_errors.KeyNotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        sealed = entry.value or b""
        try:
            told = AESGCM(secret.seal).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
            return Held(Record.model_validate_json(told), entry.revision or 0)
        except (InvalidTag, ValueError, ValidationError) as error:
            raise BrokerAway from error

    async def finish(self, claim: Claim, user: str | None, told: Told | None) -> None:
        """Keep how a request ended, unless somebody took it for abandoned."""
        await self._replace(claim, claim.settled(user, told))

    async def amend(self, secret: Secret, held: Held, told: Told) -> None:
        """Keep a later answer of a request that ended, unless somebody did so meanwhile."""
        await self._write(secret, held.record.model_copy(update={"told": told}), held.revision)

    async def forget(self, claim: Claim) -> None:
        """Free a key: nothing was done under it."""
        try:
            await self._bucket().delete(claim.secret.place, last=claim.revision)
        except js_errors.KeyWrongLastSequenceError:
            pass
        except AWAY as error:
            raise BrokerAway from error

    async def _claimed(self, claim: Claim) -> bool:
        revision = await self._write(claim.secret, claim.record(), claim.revision)
        if revision is not None:
            claim.revision = revision
        return revision is not None

    async def _replace(self, claim: Claim, record: Record) -> bool:
        """Write over what a claim wrote; False if that is not there any more."""
        async with claim.turn:
            revision = await self._write(claim.secret, record, claim.revision)
            if revision is None:
                # A write of our own may have landed though its answer was lost.
                held = await self.look(claim.secret)
                if held is None or held.record.by != claim.id:
                    return False
                revision = await self._write(claim.secret, record, held.revision)
            if revision is not None:
                claim.revision = revision
            return revision is not None

    async def _write(self, secret: Secret, record: Record, last: int) -> int | None:
        """Write over revision `last`; 0: where nothing is. None if something else is there."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + AESGCM(secret.seal).encrypt(nonce, record.model_dump_json().encode(), None)
        try:
            bucket = self._bucket()
            if last:
                return await bucket.update(secret.place, sealed, last)
            # Not update(): create() knows that what was deleted is not there.
            return await bucket.create(secret.place, sealed)
        except js_errors.KeyWrongLastSequenceError:
            return None
        except AWAY as error:
            raise BrokerAway from error

    def _bucket(self) -> KeyValue:
        # Made anew each time: the connection under it changes.
        return KeyValue(
            name=subjects.IDEMPOTENCY,
            stream=f"KV_{subjects.IDEMPOTENCY}",
            pre=f"$KV.{subjects.IDEMPOTENCY}.",
            js=self._broker.jetstream,
            direct=False,  # from the leader: a claim must be seen at once
        )
