"""Secrets of endpoints: how they sign, and how they are kept."""

from __future__ import annotations

import base64
import json
import re
import stat
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from events.clock import utc_now
from events.settings import Settings
from gateway.webhooks import signing
from gateway.webhooks.cipher import BadKey, Cipher, WrongKey

BODY = json.dumps({"text": "grüße 👋"}).encode()
KEY = base64.b64encode(b"k" * 32).decode()
ANOTHER = base64.b64encode(b"a" * 32).decode()

FIT = {
    "made here": signing.new_secret(),
    "24 bytes": "whsec_" + base64.b64encode(b"s" * 24).decode(),
    "64 bytes": "whsec_" + base64.b64encode(b"s" * 64).decode(),
    "a word": "correct-horse",
}
UNFIT = {
    "short": "seven77",
    "long": "s" * 257,
    "a blank": "correct horse",
    "not ASCII": "grüße-grüße",
    "23 bytes": "whsec_" + base64.b64encode(b"s" * 23).decode(),
    "65 bytes": "whsec_" + base64.b64encode(b"s" * 65).decode(),
    "no base64": "whsec_" + "!" * 44,
    "nothing behind the mark": "whsec_",
}


@pytest.mark.parametrize("secret", FIT.values(), ids=FIT)
def test_what_is_signed_is_verified_by_a_library_that_is_not_ours(secret: str) -> None:
    signed = signing.headers("an-event", utc_now(), BODY, [signing.checked(secret)])

    known = secret if secret.startswith("whsec_") else secret.encode()
    assert Webhook(known).verify(BODY, signed) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(known).verify(BODY + b" ", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(known).verify(BODY, signed | {"webhook-id": "another"})


def test_a_secret_without_its_mark_is_read_as_either_kind_of_library_does() -> None:
    secret = signing.checked("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    signed = signing.headers("an-event", utc_now(), BODY, [secret])

    # The library takes text for base64, marked or not, and bytes as they are.
    assert Webhook(secret).verify(BODY, signed) == json.loads(BODY)
    assert Webhook(secret.encode()).verify(BODY, signed) == json.loads(BODY)


@pytest.mark.parametrize("secret", UNFIT.values(), ids=UNFIT)
def test_a_secret_that_cannot_do_is_refused(secret: str) -> None:
    with pytest.raises(signing.BadSecret, match="24 to 64 bytes"):
        signing.checked(secret)


@pytest.mark.parametrize("length", range(20, 70))
def test_the_document_says_of_the_specifications_secrets_what_holds(length: int) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * length).decode()

    assert bool(re.match(signing.PATTERN, secret)) is (length in signing.KEY_BYTES)


@pytest.mark.parametrize("name", [*FIT, *UNFIT])
def test_the_document_says_of_every_secret_what_holds(name: str) -> None:
    assert bool(re.match(signing.PATTERN, (FIT | UNFIT)[name])) is (name in FIT)


def test_no_two_secrets_are_alike() -> None:
    assert len({signing.new_secret() for _ in range(100)}) == 100


def test_a_sealed_secret_opens_for_its_endpoint_alone() -> None:
    cipher = Cipher(b"k" * 32)
    sealed = cipher.seal("correct-horse", "endpoint-1")

    assert "horse" not in sealed.model_dump_json()
    assert cipher.unseal(sealed, "endpoint-1") == "correct-horse"
    with pytest.raises(WrongKey):
        cipher.unseal(sealed, "endpoint-2")


def test_another_key_says_which_key_is_wanted_and_how_to_mend_it() -> None:
    first, second = Cipher(b"k" * 32), Cipher(b"a" * 32)
    sealed = first.seal("correct-horse", "endpoint-1")

    with pytest.raises(WrongKey, match=rf"key {first.id} .* holds key {second.id}: set WEBHOOK_"):
        second.unseal(sealed, "endpoint-1")


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    first, again = Cipher.open(settings), Cipher.open(settings)

    assert first.id == again.id
    assert stat.S_IMODE(settings.webhook_key_file.stat().st_mode) == 0o600


def test_a_key_of_the_environment_is_not_written(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "webhook_key": KEY})
    other = Settings.model_validate({"data_dir": tmp_path, "webhook_key": ANOTHER})

    assert Cipher.open(settings).id != Cipher.open(other).id
    assert not settings.webhook_key_file.exists()


@pytest.mark.parametrize("key", ["short", KEY[:20], "no base64 at all!", KEY + KEY])
def test_a_key_that_is_none_says_how_to_make_one(key: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "webhook_key": key})

    with pytest.raises(BadKey, match="openssl rand -base64 32"):
        Cipher.open(settings)
