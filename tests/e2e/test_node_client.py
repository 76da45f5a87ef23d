"""The main job with the clients that people have: axios and socket.io-client, unmodified."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import FRIEND, NUMBER, a_service

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(180)]

SCRIPT = Path(__file__).parent / "client.mjs"

TOLD = {
    "qr-update": {"sessionId", "qr", "qrDataUrl", "status", "attempt"},
    "qr": {"sessionId", "qr", "qrDataUrl", "status", "attempt"},
    "session-authenticated": {"sessionId", "status", "timestamp"},
    "session-ready": {"sessionId", "status", "phoneNumber", "timestamp"},
    "state-change": {"sessionId", "state", "timestamp"},
    "message-ack": {"sessionId", "messageId", "ack"},
    "message-received": {"sessionId", "message"},
    "session-disconnected": {"sessionId", "status", "reason", "timestamp"},
    "disconnected": {"sessionId", "status", "reason", "timestamp"},
}
ANSWERED = {
    "created": {"success", "status", "data", "timestamp"},
    "qr": {"success", "qr", "qrCode", "qrDataUrl", "status", "attempt", "expiresAt"},
    "status": {
        *("success", "exists", "status", "phoneNumber", "lastActivity"),
        *("isReady", "isAuthenticated", "needsReconnection"),
    },
    "sent": {"success", "messageId", "commandId", "status", "timestamp", "ack"},
    "history": {"success", "messages"},
    "disconnected": {"success", "status"},
}


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_node_program_creates_scans_sends_receives_and_disconnects(
    tmp_path: Path, transport: str
) -> None:
    async with a_service(tmp_path) as service:
        options = {
            "url": service.note["gateway_url"],
            "key": service.key,
            "transports": [transport],
            "friend": FRIEND,
        }
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", "node", str(SCRIPT), json.dumps(options),
            stdout=asyncio.subprocess.PIPE, limit=2**20,
        )  # fmt: skip

        async def said() -> dict[str, Any]:
            assert process.stdout is not None
            return json.loads(await asyncio.wait_for(process.stdout.readline(), 60))

        shown = await said()
        await service.phone.scan(shown["scan"], number=NUMBER)
        wanted = await said()
        await service.phone.incoming(number=NUMBER, sender=FRIEND, body=wanted["send"])
        told = await said()
        await asyncio.wait_for(process.wait(), 10)

    assert process.returncode == 0
    by_name: dict[str, list[dict[str, Any]]] = {}
    for frame in told["heard"]:
        assert frame["payload"]["sessionId"] == "ann-bot", frame["event"]
        by_name.setdefault(frame["event"], []).append(frame["payload"])
    assert {name: fields - set(by_name[name][0]) for name, fields in TOLD.items()} == {
        name: set() for name in TOLD
    }
    answers = told["answers"]
    assert {name: fields - set(answers[name]) for name, fields in ANSWERED.items()} == {
        name: set() for name in ANSWERED
    }
    assert answers["status"]["status"] == "ready"
    assert answers["sent"]["status"] == "sent"
    assert by_name["session-ready"][0]["phoneNumber"] == NUMBER
    assert shown["same"] == shown["scan"] or len(by_name["qr-update"]) > 1
    # Each of the two sides has said one thing, and is told it once.
    assert [p["message"]["body"] for p in by_name["message-received"]] == ["hello to node"]
    [sent] = [m for m in answers["history"]["messages"] if m["fromMe"]]
    assert sent["body"] == "hello from node"
