"""Secrets of endpoints, and the headers that prove who posts: Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
"""How long the specification wants the key behind `whsec_`."""

SHORTEST, LONGEST = 8, 256
RULE = (
    f"must be {SHORTEST} to {LONGEST} printable ASCII characters without blanks; "
    f"after {PREFIX} the base64 of 24 to 64 bytes"
)

_BASE64 = "[A-Za-z0-9+/]"
PATTERN = (
    f"^(?:{PREFIX}(?:(?:{_BASE64}{{4}}){{8,20}}(?:{_BASE64}{{2}}==|{_BASE64}{{3}}=)?"
    f"|(?:{_BASE64}{{4}}){{21}}(?:{_BASE64}{{2}}==)?)"
    f"|(?!{PREFIX})[!-~]{{{SHORTEST},{LONGEST}}})$"
)
"""The rule for those who read the document; `checked` is what holds."""


class BadSecret(ValueError):
    """A secret that could not be signed with."""

    def __init__(self) -> None:
        super().__init__(RULE)


def new_secret() -> str:
    """Make a secret of 32 random bytes, in the form of the specification."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def checked(secret: str) -> str:
    """Return a secret that somebody chose; raise BadSecret."""
    fits = SHORTEST <= len(secret) <= LONGEST and all("!" <= char <= "~" for char in secret)
    if not fits or not _keys(secret):
        raise BadSecret
    return secret


def headers(event_id: str, at: datetime, body: bytes, signed_with: Sequence[str]) -> dict[str, str]:
    """Sign a body with the newest secret first, and with older ones that still hold.

    `webhook-signature` as in https://www.standardwebhooks.com: HMAC-SHA256 over
    `<id>.<timestamp>.<body>`. `X-Webhook-Hmac` is the HMAC-SHA512 of the body alone,
    in hex, under the newest secret as it is written. A secret without `whsec_` that is
    base64 all the same signs twice: the specification's own libraries decode it, and
    others take it as it is written.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        for secret in signed_with
        for key in _keys(secret)
    ]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
        "X-Webhook-Hmac": hmac.new(signed_with[0].encode(), body, hashlib.sha512).hexdigest(),
        "X-Webhook-Hmac-Algorithm": "sha512",
    }


def _keys(secret: str) -> list[bytes]:
    """Return what signs, by each way of reading a secret; none if it cannot be read."""
    as_written = [] if secret.startswith(PREFIX) else [secret.encode()]
    decoded = _decoded(secret)
    return [*as_written, decoded] if decoded else as_written


def _decoded(secret: str) -> bytes:
    """Return the key in a secret of the specification; nothing if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return b""
    return key if len(key) in KEY_BYTES else b""
