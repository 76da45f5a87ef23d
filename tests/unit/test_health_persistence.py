"""What health makes of the copies of a stream."""

from __future__ import annotations

import pytest
from nats.js.api import StreamInfo

from gateway.checks.servers import complete, shown


def stream(wanted: int, *copies: dict[str, object], leader: str | None = "n1") -> StreamInfo:
    """A stream as a broker describes it; the leader is no copy of itself."""
    info: dict[str, object] = {
        "config": {"name": "WA_EVT", "num_replicas": wanted},
        "state": {
            "messages": 7,
            "bytes": 900,
            "first_seq": 1,
            "last_seq": 7,
            "consumer_count": 0,
            "first_ts": None,
            "last_ts": None,
        },
    }
    if copies or leader is None:
        info["cluster"] = {"name": "c", "leader": leader, "replicas": list(copies)}
    return StreamInfo.from_response(info)


WELL = {"name": "n2", "current": True, "active": 1}
BEHIND = {"name": "n3", "current": False, "active": 1, "lag": 40}
AWAY = {"name": "n3", "current": True, "offline": True, "active": 1}

COPIES = {
    "one server": (stream(1), 1, True),
    "all there": (stream(3, WELL, {**WELL, "name": "n3"}), 3, True),
    "one behind": (stream(3, WELL, BEHIND), 2, False),
    "one away": (stream(3, WELL, AWAY), 2, False),
}


@pytest.mark.parametrize("word", COPIES)
def test_a_copy_that_is_behind_or_away_does_not_count(word: str) -> None:
    held, current, enough = COPIES[word]

    assert shown(held)["replicasCurrent"] == current
    assert complete(held) is enough


def test_a_stream_without_a_leader_is_told() -> None:
    assert shown(stream(3, BEHIND, AWAY, leader=None))["hasLeader"] is False
    assert shown(stream(1))["hasLeader"] is True


def test_what_a_stream_holds_is_told_and_no_server_is_named() -> None:
    told = shown(stream(3, WELL, AWAY))

    assert (told["messages"], told["bytes"], told["lastPosition"]) == (7, 900, 7)
    assert not {"n1", "n2", "n3"} & {str(value) for value in told.values()}
