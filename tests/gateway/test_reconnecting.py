"""A session that loses its browser, told live by the whole service."""

from __future__ import annotations

from pathlib import Path

from actors.browser.protocol import Unreachable
from events.subjects import SessionId
from tests.gateway.sockets import connect
from tests.gateway.whole import whole

ANN = SessionId("ann", "bot")
NOTICES = ("session-reconnecting", "session-reconnected", "session-disconnection-failed")


async def test_what_becomes_of_a_session_that_lost_its_browser_is_told_to_the_end(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    quick = {"backoff_first": 0.05, "backoff_max": 0.1, "backoff_jitter": 0, "backoff_attempts": 2}
    async with whole(nats_url, redis_port, tmp_path, **quick) as service:
        await service.link(ANN, "15550001111")
        socket = await connect(service.gateway, session=ANN.joined, events=",".join(NOTICES))

        service.launcher.of(str(ANN)).die()
        away, back = await socket.frames(2)
        returned = await connect(
            service.gateway, session=ANN.joined, events=",".join(NOTICES), since=away["position"]
        )
        (late,) = await returned.frames(1)
        service.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))
        service.launcher.of(str(ANN)).die()
        again, given_up = await socket.frames(2)

    attempt = {"sessionId": ANN.joined, "attempt": 1, "maxAttempts": 2, "delay": 50}
    # Nothing before it is told, and it is still what it was.
    assert (late["event"], late["id"]) == ("session-reconnected", back["id"])
    assert away["event"] == again["event"] == "session-reconnecting"
    assert away["payload"].items() >= attempt.items()
    assert back["event"] == "session-reconnected"
    assert back["payload"]["sessionId"] == ANN.joined
    assert again["payload"].items() >= (attempt | {"attempt": 2, "delay": 100}).items()
    assert given_up["event"] == "session-disconnection-failed"
    assert given_up["payload"]["sessionId"] == ANN.joined
    assert given_up["payload"]["status"] == "suspended"
    assert given_up["payload"]["message"].startswith("3 failures in a row; tried again at ")
