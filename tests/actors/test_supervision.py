"""Breakers, pacing, memory and stale sessions, in a whole node on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.browser.protocol import Unreachable
from actors.memory import Cost
from actors.session import SessionActor
from actors.session_messages import SlotFree
from events.live import Usage
from events.session import State
from events.subjects import SessionId
from tests.actors.world import FRIEND, NUMBER, World, a_world, refusals

ANN = SessionId("ann", "bot")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


def pool_events(world: World) -> list[str]:
    return [k.removeprefix("pool.") for k in world.kinds() if k.startswith("pool.launches")]


def test_sessions_that_all_fail_to_start_trip_the_node_and_only_one_probe_is_made(
    world: World,
) -> None:
    sessions = [SessionId(f"user{n}", "bot") for n in range(12)]
    for number, session in enumerate(sessions):
        world.linked(session, f"1555000{number:04}")
    world.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))

    for session in sessions:
        world.browser(session).die()
    world.until(lambda: world.advance(0.5) or pool_events(world) == ["launches_paused"])
    # Some may have been let launch just before; they are not held back any more.
    world.until(lambda: world.launching == 0)
    starts = world.launcher.starts
    for _ in range(20):
        world.advance(1)

    assert pool_events(world) == ["launches_paused"]
    assert world.launcher.starts == starts
    world.until(lambda: world.advance(1) or "launches_probed" in pool_events(world))
    world.until(lambda: len(pool_events(world)) >= 3)
    assert pool_events(world)[:3] == ["launches_paused", "launches_probed", "launches_paused"]
    assert world.launcher.starts == starts + 1
    world.launcher.mend()
    world.until(
        lambda: world.advance(1) or all(world.word(s) == "ready" for s in sessions), "all ready"
    )
    assert pool_events(world)[-1] == "launches_resumed"


def test_starts_begun_before_the_node_broke_do_not_end_the_probe_or_break_it_again(
    tmp_path: Path,
) -> None:
    with a_world(tmp_path, start_timeout=60, node_breaker_reset=30) as world:
        late = [SessionId(f"late{n}", "bot") for n in range(7)]
        quick = [SessionId(f"quick{n}", "bot") for n in range(5)]
        for number, session in enumerate([*late, *quick]):
            world.linked(session, f"1555000{number:04}")
        starts = world.launcher.starts
        world.launcher.hold()
        for session in late:
            world.browser(session).die()
        world.until(lambda: world.advance(0.5) or world.launcher.starts == starts + len(late))
        world.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))
        for session in quick:
            world.browser(session).die()
        world.until(lambda: world.advance(0.5) or pool_events(world) == ["launches_paused"])
        world.launcher.mend()
        starts = world.launcher.starts
        world.until(lambda: world.advance(0.5) or world.launcher.starts > starts)

        world.until(
            lambda: world.advance(0.5) or all(len(world.envelopes(s, "crashed")) > 1 for s in late)
        )
        world.advance(0)

        assert [world.envelopes(s, "crashed")[-1].data["reason"] for s in late] == [
            "start_timeout"
        ] * len(late)
        assert pool_events(world) == ["launches_paused", "launches_probed"]
        assert world.launcher.starts == starts + 1
        world.launcher.release()
        world.until(
            lambda: world.advance(1) or all(world.word(s) == "ready" for s in [*late, *quick])
        )
        assert pool_events(world) == ["launches_paused", "launches_probed", "launches_resumed"]


def test_a_probe_whose_session_fails_makes_room_for_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [SessionId(f"user{n}", "bot") for n in range(6)]
    for number, session in enumerate(sessions):
        world.linked(session, f"1555000{number:04}")
    world.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))
    for session in sessions:
        world.browser(session).die()
    world.until(lambda: world.advance(0.5) or pool_events(world) == ["launches_paused"])
    receive = SessionActor._receive
    struck: list[object] = []

    def strike_once(self: SessionActor, message: object) -> None:
        if isinstance(message, SlotFree) and not struck:
            struck.append(message)
            raise RuntimeError("a bug")
        receive(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(SessionActor, "_receive", strike_once)
    world.launcher.mend()

    world.until(lambda: world.advance(1) or all(world.word(s) == "ready" for s in sessions))
    assert struck
    assert pool_events(world) == ["launches_paused", "launches_probed", "launches_resumed"]


def test_one_session_that_fails_alone_does_not_trip_the_node(world: World) -> None:
    world.launcher.fail_always(Unreachable("net::ERR_CONNECTION_RESET"))
    world.create(ANN)

    world.until(lambda: world.advance(5) or world.envelopes(ANN, "suspended"))

    assert pool_events(world) == []


def test_a_rejected_version_trips_the_node_after_one_reload(world: World) -> None:
    bob = SessionId("bob", "bot")
    world.linked(ANN)
    starts = world.launcher.starts

    world.whatsapp.rejects_version = True
    world.browser(ANN).become("DEPRECATED_VERSION", "DEPRECATED_VERSION")
    world.until(lambda: world.advance(0.5) or pool_events(world))
    world.create(bob)
    world.until(lambda: refusals(world))
    world.advance(world.settings.node_breaker_reset / 2)

    assert [c.data["reason"] for c in world.envelopes(ANN, "crashed")] == ["deprecated_version"] * 2
    assert world.pool_data("launches_paused")["reason"] == "deprecated_version"
    assert pool_events(world) == ["launches_paused"]
    assert world.launcher.starts == starts + 1


def test_a_version_that_is_accepted_again_is_found_out_by_one_probe(world: World) -> None:
    bob = SessionId("bob", "bot")
    sessions = [world.linked(ANN), world.linked(bob, "15550002222")]
    world.whatsapp.rejects_version = True
    for session in sessions:
        world.browser(session).become("DEPRECATED_VERSION", "DEPRECATED_VERSION")
    world.until(lambda: world.advance(0.5) or pool_events(world))
    world.until(
        lambda: world.advance(0.5) or all(world.state(s).state is State.QUEUED for s in sessions)
    )
    starts = world.launcher.starts

    world.whatsapp.rejects_version = False
    world.launcher.hold()
    world.until(lambda: world.advance(1) or world.launcher.starts > starts)
    world.advance(0)
    assert world.launcher.starts == starts + 1
    world.launcher.release()

    world.until(lambda: world.advance(1) or all(world.word(s) == "ready" for s in sessions))
    assert pool_events(world) == ["launches_paused", "launches_probed", "launches_resumed"]


def test_creates_are_refused_while_launches_are_paused(world: World) -> None:
    world.launcher.fail_always(Unreachable("net::ERR_INTERNET_DISCONNECTED"))
    for number in range(5):
        world.create(SessionId(f"user{number}", "bot"))
    world.until(lambda: pool_events(world) == ["launches_paused"])

    world.create(SessionId("late", "bot"))

    world.until(lambda: refusals(world))
    [refused] = refusals(world)
    assert (refused.reason, refused.status) == ("launches_paused", 503)
    assert refused.retry_after == pytest.approx(30, abs=1)
    world.advance(world.settings.node_breaker_reset + 1)
    world.until(lambda: "launches_probed" in pool_events(world))
    assert world.pool_data("launches_probed")["rejected"] >= 1


def test_calls_into_a_page_that_fail_in_a_row_pause_its_sends_until_one_works(
    world: World,
) -> None:
    world.linked(ANN)
    world.whatsapp.sends.extend(["lost"] * 2)
    browser = world.browser(ANN)

    world.send(ANN, "m1")
    world.wait_for(ANN, "sending")
    browser.hang()
    world.until(lambda: world.wire.redeliver(ANN) or world.envelopes(ANN, "operations_paused"))
    browser.release()
    calls = len(browser.calls)
    world.wire.redeliver(ANN)
    world.until(lambda: world.wire.settled[-1].delay > 1)
    assert len(browser.calls) == calls

    world.until(
        lambda: world.advance(2) or world.wire.redeliver(ANN) or world.envelopes(ANN, "sent")
    )
    assert [k for k in world.kinds(ANN) if "operations" in k] == [
        "session.operations_paused",
        "session.operations_probed",
        "session.operations_resumed",
    ]
    assert len(world.whatsapp.account(NUMBER).chats[FRIEND].messages) == 1


def test_a_user_on_nats_is_paced_and_loses_nothing(tmp_path: Path) -> None:
    with a_world(tmp_path, sends_per_second=2, sends_per_minute=60) as world:
        world.linked(ANN)
        for number in range(4):
            world.send(ANN, f"m{number}", f"text {number}")

        world.wait_for(ANN, "sent", 2)
        world.until(lambda: [s for s in world.wire.settled if s.word == "later"])
        assert len(world.envelopes(ANN, "sent")) == 2
        world.until(
            lambda: (
                world.advance(0.5)
                or world.wire.redeliver(ANN)
                or len(world.envelopes(ANN, "sent")) == 4
            )
        )
        bodies = [m.body for m in world.whatsapp.account(NUMBER).chats[FRIEND].messages.values()]
        assert bodies == [f"text {number}" for number in range(4)]


def test_a_browser_over_its_memory_is_restarted_when_idle(world: World) -> None:
    world.linked(ANN)
    world.machine.costs = Cost(memory_mb=900, cpu_seconds=2.0)

    world.until(lambda: world.advance(20) or len(world.envelopes(ANN, "queued")) == 2)
    # The start takes real time, in which its deadline must not pass.
    world.wait_for(ANN, "ready", 2)

    assert [q.data["reason"] for q in world.envelopes(ANN, "queued")] == ["claimed", "memory"]
    assert world.envelopes(ANN, "crashed") == []


def test_what_a_browser_costs_is_told_live(world: World) -> None:
    world.linked(ANN)

    world.until(
        lambda: world.advance(61) or [n for _, n in world.wire.notices if isinstance(n, Usage)]
    )

    [usage, *_] = [n for _, n in world.wire.notices if isinstance(n, Usage)]
    assert usage.memory_mb == 60


def test_no_browser_is_launched_without_memory_for_it(world: World) -> None:
    world.machine.available = 100
    world.create(ANN)
    world.wait_for(ANN, "queued")
    world.advance(20)
    assert world.launcher.starts == 0

    world.machine.available = 8_000

    world.until(lambda: world.advance(5) or world.envelopes(ANN, "pairing"))


def test_an_unlinked_session_that_nobody_touched_for_a_day_is_removed(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    for _ in range(world.settings.qr_max):
        world.browser(ANN).new_qr()
    world.wait_for(ANN, "rested")

    world.advance(23 * 3600)
    assert world.envelopes(ANN, "removed") == []
    world.until(lambda: world.advance(600) or world.envelopes(ANN, "removed"))

    assert world.envelopes(ANN, "removed")[0].data["reason"] == "stale"


def test_a_linked_session_is_never_forgotten(world: World) -> None:
    from events import session_events as e

    world.linked(ANN)
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")

    world.advance(30 * 24 * 3600)

    assert world.word(ANN) == "stopped"
