"""Every event of the contract, told to a Socket.IO client with the fields that clients read."""

from __future__ import annotations

from typing import Any

from events import live
from events import session_events as e
from events.clock import utc_now
from events.message import Delivered, Send
from tests.gateway.conftest import Running
from tests.gateway.node import IN_A_MINUTE, PHONE, ScriptedNode, received, sent
from tests.gateway.test_socketio import connected
from tests.gateway.test_websocket import ONE, TWO

FIELDS = {
    "qr-update": {"sessionId", "qr", "qrDataUrl", "status", "attempt"},
    "qr": {"sessionId", "qr", "qrDataUrl", "status", "attempt"},
    "qr-limit-reached": {"sessionId", "message"},
    "session-authenticated": {"sessionId", "status", "timestamp"},
    "session-ready": {"sessionId", "status", "phoneNumber", "timestamp"},
    "auth-failed": {"sessionId", "status", "error"},
    "session-disconnected": {"sessionId", "status", "reason", "timestamp"},
    "disconnected": {"sessionId", "status", "reason", "timestamp"},
    "session-reconnecting": {"sessionId", "attempt", "maxAttempts", "delay"},
    "session-reconnected": {"sessionId"},
    "session-disconnection-failed": {"sessionId", "status", "message"},
    "state-change": {"sessionId", "state", "timestamp"},
    "loading-progress": {"sessionId", "percent", "message"},
    "message-received": {"sessionId", "message"},
    "message-ack": {"sessionId", "messageId", "ack"},
    "session-error": {"sessionId", "error", "timestamp"},
    "queue-position": {"sessionId"},
    "session-activated": {"sessionId"},
}


async def a_whole_life(node: ScriptedNode) -> None:
    """Bring one session through all that can be told of it; the last is that it is suspended."""
    soon = utc_now() + IN_A_MINUTE
    crash = e.Crashed(reason="page_gone", detail="it closed")
    await node.registered(ONE)
    await node.notice(ONE, live.QueuePosition(position=1))
    await node.starting(ONE)
    await node.event(ONE, e.LoadingSeen(percent=40, message="Loading your chats"))
    await node.pairing(ONE)
    await node.event(
        ONE,
        e.QrExhausted(attempts=6),
        e.Rested(reason="qr_exhausted"),
        e.Queued(reason="start"),
        e.Starting(attempt=1, deadline=soon),
        e.AuthFailed(reason="the phone refused"),
        e.Authenticated(deadline=soon),
        e.Ready(phone=PHONE),
    )
    await node.message(ONE, received("hello"))
    there = sent(Send(message="m-1", to=PHONE, body="hello", deadline=soon))
    await node.message(ONE, there)
    await node.message(ONE, Delivered(wa_id=there.wa_id, chat=PHONE, message="m-1"))
    await node.event(
        ONE,
        e.Offline(reason="TIMEOUT", deadline=soon),
        e.Ready(phone=PHONE, again=True),
        crash,
        e.BackingOff(attempt=2, max_attempts=5, delay=1.5, until=soon),
        e.Queued(reason="backoff_elapsed"),
        e.Starting(attempt=2, deadline=soon),
        crash,
        e.Suspended(failures=6, until=soon),
    )


async def test_every_event_of_the_contract_is_told_with_its_fields(
    running: Running, node: ScriptedNode
) -> None:
    told: dict[str, list[dict[str, Any]]] = {}

    async with connected(running) as client:
        await client.ask("join-session", "user-one")
        await client.ask("unsubscribe:session", "user-two")
        await node.registered(TWO)
        await a_whole_life(node)
        # What is never stored may overtake what is, and the other way round.
        while not (
            told.keys() >= FIELDS.keys() and told["state-change"][-1]["state"] == "suspended"
        ):
            name, payload = await client.next(30)
            told.setdefault(name, []).append(payload)

    for name, fields in FIELDS.items():
        for payload in told[name]:
            assert payload.keys() >= fields, name
            assert payload["sessionId"] == "user-one", name
    assert told["qr-update"][0]["status"] == "waiting_qr"
    assert told["qr-update"][0]["qrDataUrl"].startswith("data:image/png;base64,")
    assert told["session-ready"][-1]["phoneNumber"] == "491709999999"
    assert told["auth-failed"][0]["status"] == "auth_failed"
    assert told["disconnected"] == told["session-disconnected"]
    assert told["message-received"][0]["message"].keys() >= {"id", "body", "from", "timestamp"}
    assert [ack["ack"] for ack in told["message-ack"]] == [1, 2]
    assert told["loading-progress"][0]["percent"] == 40
    assert told["queue-position"][0]["position"] == 1
    states = [change["state"] for change in told["state-change"]]
    assert [state for at, state in enumerate(states) if states[at - 1 : at] != [state]] == [
        *("not_found", "initializing", "waiting_qr", "disconnected", "initializing"),
        *("authenticated", "ready", "disconnected", "ready", "reconnecting", "initializing"),
        *("reconnecting", "suspended"),
    ]
