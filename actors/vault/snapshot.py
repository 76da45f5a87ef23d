"""A sealed snapshot: a header that anyone can read, and a profile that only a key opens.

    8 bytes   "WAVAULT1"
    8 bytes   id of the key
    8 bytes   generation, big-endian
    8 bytes   when it was taken, milliseconds since 1970, big-endian
    12 bytes  nonce
    the rest  AES-256-GCM of the packed profile and its tag of 16 bytes

The header and the session's name are authenticated too: a snapshot that was
renamed, renumbered or given to another session does not open.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag

from actors.vault.keys import Keys
from events.subjects import SessionId

MAGIC = b"WAVAULT1"
HEADER = struct.Struct(">8s8sQQ12s")
TAG_BYTES = 16


class Damaged(Exception):
    """A snapshot was cut short, changed, or is none."""


class NoKey(Exception):
    """A snapshot is whole as far as can be told, and its key is not here."""

    def __init__(self, wanted: bytes, keys: Keys) -> None:
        held = ", ".join(key.id.hex() for key in keys.held)
        super().__init__(
            f"the snapshot needs key {wanted.hex()} and this machine holds {held}: "
            "add that key to VAULT_KEY or to the file vault-key"
        )
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class Header:
    """What a snapshot tells without a key."""

    key_id: bytes
    generation: int
    taken: datetime
    nonce: bytes

    def written(self) -> bytes:
        """Return the header as it stands in the snapshot."""
        at = round(self.taken.timestamp() * 1_000)
        return HEADER.pack(MAGIC, self.key_id, self.generation, at, self.nonce)


def seal(packed: bytes, session: SessionId, generation: int, taken: datetime, keys: Keys) -> bytes:
    """Encrypt a packed profile under the first key."""
    key = keys.first
    header = Header(key.id, generation, taken, secrets.token_bytes(12)).written()
    return header + key.aead.encrypt(header[-12:], packed, _bound(header, session))


def read_header(sealed: bytes) -> Header:
    """Read what needs no key; raises Damaged."""
    if len(sealed) < HEADER.size + TAG_BYTES:
        raise Damaged(f"it is {len(sealed)} bytes long, too short for a snapshot")
    magic, key_id, generation, at, nonce = HEADER.unpack_from(sealed)
    if magic != MAGIC:
        raise Damaged("it does not begin as a snapshot does")
    try:
        taken = datetime.fromtimestamp(at / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        raise Damaged("its time is none") from None
    return Header(key_id, generation, taken, nonce)


def unseal(sealed: bytes, session: SessionId, keys: Keys) -> bytes:
    """Decrypt a packed profile; raises Damaged and NoKey."""
    header = read_header(sealed)
    key = keys.get(header.key_id)
    if key is None:
        raise NoKey(header.key_id, keys)
    written = sealed[: HEADER.size]
    try:
        return key.aead.decrypt(header.nonce, sealed[HEADER.size :], _bound(written, session))
    except InvalidTag:
        raise Damaged("it was changed, cut short, or belongs to another session") from None


def _bound(header: bytes, session: SessionId) -> bytes:
    return header + session.dotted.encode()
