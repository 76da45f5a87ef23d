"""The keys of the vault: the first one seals, every one opens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events import keyfile
from events.settings import Settings

KEY_BYTES = 32
ID_BYTES = 8


class BadKey(Exception):
    """VAULT_KEY or its file holds something that is no key."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} must hold the base64 of {KEY_BYTES} bytes, or several with commas "
            f"(the first seals): openssl rand -base64 {KEY_BYTES}"
        )


class NotRotated(Exception):
    """A new key cannot be made here."""


@dataclass(frozen=True)
class Key:
    """One AES-256 key and the name by which snapshots say that they need it."""

    id: bytes
    aead: AESGCM = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> Key:
        """Name a key after what it is, in a way that does not give it away."""
        return cls(hashlib.sha256(b"vault key id:" + secret).digest()[:ID_BYTES], AESGCM(secret))


@dataclass(frozen=True)
class Keys:
    """One key or more."""

    held: tuple[Key, ...]

    @property
    def first(self) -> Key:
        """The key that seals."""
        return self.held[0]

    def get(self, key_id: bytes) -> Key | None:
        """Find the key that a snapshot names."""
        return next((key for key in self.held if key.id == key_id), None)

    @classmethod
    def open(cls, settings: Settings) -> Keys:
        """Take `VAULT_KEY`, or the keys in the file, which is made; raises BadKey and OSError."""
        if settings.vault_key is not None:
            return cls.read(settings.vault_key.get_secret_value(), "VAULT_KEY")
        file = settings.vault_key_file
        return cls.read(keyfile.kept(file, _new), file.name)

    @classmethod
    def read(cls, written: str, where: str) -> Keys:
        """Read keys parted by commas or lines; raises BadKey, which names where but no key."""
        held: list[Key] = []
        for word in written.replace(",", " ").split():
            try:
                secret = base64.b64decode(word, validate=True)
            except (binascii.Error, ValueError):
                raise BadKey(where) from None
            if len(secret) != KEY_BYTES:
                raise BadKey(where)
            held.append(Key.of(secret))
        if not held:
            raise BadKey(where)
        return cls(tuple(held))


def rotate(settings: Settings) -> Keys:
    """Put a new key before those in the file; raises NotRotated, BadKey and OSError."""
    if settings.vault_key is not None:
        raise NotRotated(
            "VAULT_KEY is set: put a new key before the old one there "
            f"(openssl rand -base64 {KEY_BYTES}), restart every node, and run this again "
            "with --reseal"
        )
    Keys.open(settings)
    file: Path = settings.vault_key_file
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(f"{_new()}\n{file.read_text().strip()}\n")
        written.flush()
        os.fsync(written.fileno())
    draft.replace(file)
    return Keys.open(settings)


def _new() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
