"""The OpenAPI document against the service: what it promises is what is answered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from events.subjects import SessionId
from gateway import codes, lifecycle
from tests.gateway.conftest import KEY, UNLIMITED, Running
from tests.gateway.whole import whole

ONE = SessionId("user-1", "bot-1")
"""The session of the document's examples."""

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


ROOM = dict.fromkeys(UNLIMITED, 1_000_000)
"""Limits that nobody reaches, so that the figures are told and what lies behind is tried."""

CONFIG = """
# A text that is too long is a 413, which schemathesis does not count as a refusal by itself.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "406", "413", "422", "428"]

# A shape that is refused is a 400. A code that does not come in time is a 408; a key of
# another request and a number that is not on WhatsApp are a 422: no schema can say so.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "408", "409", "422", "429", "5xx"]

# `expiresAt` has to lie in the future, and no schema can say so.
[[operations]]
include-name = "POST /api/keys"
[operations.checks.positive_data_acceptance]
enabled = false

# Which URLs may be called is a matter of addresses and of configuration.
[[operations]]
include-name = "PUT /api/webhooks/{name}"
[operations.checks.positive_data_acceptance]
enabled = false
"""


async def checked(gateway: Running, home: Path, *options: str) -> None:
    """Have schemathesis make requests from the document and check every answer against it."""
    (home / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")),
        "run",
        f"{gateway.url}/openapi.json",
        # All checks are the default; saying so would outrank the exceptions above.
        *("--header", f"x-api-key: {KEY}", "--seed", "1"),
        *("--request-timeout", "60", "--suppress-health-check", "all"),
        # A stream has no end, and schemathesis needs a newer urllib3 to read one.
        *("--exclude-path", "/api/events"),
        # Whether a file is taken depends on its bytes, which no schema describes.
        *("--exclude-path", "/api/sessions/{id}/messages/media"),
        *("--exclude-path", "/api/sessions/{id}/messages/file", *options),
        cwd=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    sys.stdout.write(said.decode())
    assert process.returncode == 0, said.decode()
    assert (await gateway.http.get("/health/live")).is_success


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "WAIT", 0.5)
    monkeypatch.setattr(lifecycle, "TELL_WAIT", 2.0)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--phases", "examples,fuzzing", "--max-examples", "2"], id="some"),
        pytest.param(
            ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "50"],
            id="many",
            marks=[pytest.mark.long, pytest.mark.timeout(3_000)],
        ),
    ],
)
async def test_every_answer_is_as_the_document_says(
    options: list[str], nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with whole(nats_url, redis_port, tmp_path, send_wait=0.5, **ROOM) as service:
        await service.link(ONE, "15550001111")

        await checked(service.gateway, tmp_path, *options)
