"""What POSTs with an `Idempotency-Key` came to, for a day, in JetStream.

An answer may hold a credential (a QR code, a new key), and the broker's disk is
no place for one. So each record is sealed under a key made of what only the
caller has: the API key and the idempotency key together. Neither is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.kv import KeyValue
from pydantic import BaseModel, ConfigDict, ValidationError

from events import subjects
from events.clock import utc_now
from gateway.broker import Broker, BrokerAway

ABANDONED = 120.0
"""Seconds after which a request without an outcome is given up: its gateway has died."""

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

    `user` is whose quota the request fell under.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    at: datetime
    stage: Literal["begun", "done"] = "begun"
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


class Remembered:
    """The bucket. Every call raises BrokerAway."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def begin(self, secret: Secret, fingerprint: str) -> Held | int:
        """Claim a key for a request: the claim's revision, or what is there already."""
        record = Record(fingerprint=fingerprint, at=utc_now())
        revision = await self._write(secret, record, 0)
        while revision is None:
            held = await self.look(secret)
            if held is None:
                revision = await self._write(secret, record, 0)
            elif _is_abandoned(held.record):
                revision = await self._write(secret, record, held.revision)
            else:
                return held
        return revision

    async def look(self, secret: Secret) -> Held | None:
        """Read what is there."""
        try:
            entry = await self._bucket().get(secret.place)
        except js_errors.KeyNotFoundError:
            return None
        except (js_errors.Error, nats_errors.Error, OSError, TimeoutError) as error:
            raise BrokerAway from error
        sealed = entry.value or b""
        try:
            told = AESGCM(secret.seal).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
            return Held(Record.model_validate_json(told), entry.revision or 0)
        except (InvalidTag, ValueError, ValidationError) as error:
            raise BrokerAway from error

    async def finish(self, secret: Secret, record: Record, revision: int) -> None:
        """Keep how a request ended, unless somebody took it for abandoned."""
        await self._write(secret, record, revision)

    async def forget(self, secret: Secret, revision: int) -> None:
        """Free a key: nothing was done under it."""
        try:
            await self._bucket().delete(secret.place, last=revision)
        except js_errors.KeyWrongLastSequenceError:
            pass
        except (js_errors.Error, nats_errors.Error, OSError, TimeoutError) as error:
            raise BrokerAway from error

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
        except (js_errors.Error, nats_errors.Error, OSError, TimeoutError) as error:
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


def _is_abandoned(record: Record) -> bool:
    return record.stage == "begun" and (utc_now() - record.at).total_seconds() > ABANDONED
