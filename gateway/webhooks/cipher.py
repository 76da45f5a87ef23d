"""Secrets of endpoints as they lie in the bucket: encrypted, and bound to their endpoint."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict

from events.keyfile import kept
from events.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12


class WrongKey(Exception):
    """A secret was encrypted with another key than this process has, or was tampered with."""

    def __init__(self, wanted: str, held: str) -> None:
        super().__init__(
            f"the secret is encrypted with key {wanted} and this gateway holds key {held}: set "
            "WEBHOOK_KEY to that key, the same on every gateway, or give the webhook a new secret"
        )
        self.wanted = wanted
        self.held = held


class BadKey(Exception):
    """WEBHOOK_KEY or its file holds no key."""

    def __init__(self) -> None:
        super().__init__(
            f"WEBHOOK_KEY, or the file webhook-key, must be the base64 of {KEY_BYTES} bytes: "
            f"openssl rand -base64 {KEY_BYTES}"
        )


class Sealed(BaseModel):
    """An encrypted secret. `key` says which key it needs; after `until` it signs nothing more."""

    model_config = ConfigDict(frozen=True)

    key: str
    text: str
    until: datetime | None = None


class Cipher:
    """AES-256-GCM under one key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self.id = hashlib.sha256(b"webhook key id:" + key).hexdigest()[:16]

    @classmethod
    def open(cls, settings: Settings) -> Cipher:
        """Take `WEBHOOK_KEY`, or the key in its file, which is made; raises BadKey and OSError."""
        if settings.webhook_key is not None:
            written = settings.webhook_key.get_secret_value()
        else:
            written = kept(settings.webhook_key_file, _new_key)
        try:
            key = base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError):
            raise BadKey from None
        if len(key) != KEY_BYTES:
            raise BadKey
        return cls(key)

    def seal(self, secret: str, endpoint: str) -> Sealed:
        """Encrypt a secret for one endpoint."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        # Bound to the endpoint's id: moved to another one, it does not open.
        text = nonce + self._aead.encrypt(nonce, secret.encode(), endpoint.encode())
        return Sealed(key=self.id, text=base64.b64encode(text).decode())

    def unseal(self, sealed: Sealed, endpoint: str) -> str:
        """Decrypt; raises WrongKey."""
        text = base64.b64decode(sealed.text)
        nonce, rest = text[:NONCE_BYTES], text[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, rest, endpoint.encode()).decode()
        except InvalidTag:
            raise WrongKey(sealed.key, self.id) from None


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
