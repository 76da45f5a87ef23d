"""One session's life in a node: real actors, fake browser, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.browser.protocol import LaunchFailed, NoBrowser, PageStatus, Unreachable
from actors.inbox import Delivered
from events import codec, subjects
from events import session_events as e
from events.backoff import Backoff
from events.envelope import Envelope
from events.live import Qr, Settled
from events.log import Guard
from events.message import MessageEvent, Sending, Sent
from events.session import State
from events.session_rules import QR_GRACE, TYPING_TIME
from events.subjects import SessionId
from tests.actors.world import FRIEND, NUMBER, World, a_world, refusals
from tests.fakes.browser import SHORTEST_TTL
from tests.fakes.wire import FakeReceipt

ANN = SessionId("ann", "bot")
FAMILY = subjects.message_family(ANN)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


def test_a_created_session_shows_a_code_and_is_ready_after_the_scan(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    assert world.word(ANN) == "waiting_qr"

    world.browser(ANN).scan(NUMBER)

    world.wait_for(ANN, "ready")
    assert world.state(ANN).phone == f"{NUMBER}@c.us"
    assert [k for k in world.kinds(ANN) if k != "session.loading"] == [
        "session.registered",
        "session.claimed",
        "session.queued",
        "session.starting",
        "session.pairing",
        "session.authenticated",
        "session.ready",
    ]


def test_versions_have_no_hole_and_each_event_names_its_cause(world: World) -> None:
    world.linked(ANN)

    envelopes = [s.envelope for s in world.log.events if s.envelope.subject == ANN.dotted]

    assert [e.version for e in envelopes] == list(range(1, len(envelopes) + 1))
    assert all(e.causationid for e in envelopes)


def test_a_code_is_told_live_and_never_stored(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    world.until(lambda: [n for _, n in world.wire.notices if isinstance(n, Qr)])

    [code] = [n.code for _, n in world.wire.notices if isinstance(n, Qr)]

    assert code == f"{world.browser(ANN).qr},1"
    assert not any(code.encode() in stored.raw for stored in world.log.events)


def test_a_code_that_is_told_twice_is_one_attempt(world: World) -> None:
    world.whatsapp.qr_ttl = 60
    world.create(ANN)

    world.wait_for(ANN, "qr_refreshed")
    world.browser(ANN).new_qr()
    world.wait_for(ANN, "qr_refreshed", 2)
    world.until(lambda: len([n for _, n in world.wire.notices if isinstance(n, Qr)]) > 2)

    shown = world.envelopes(ANN, "pairing") + world.envelopes(ANN, "qr_refreshed")
    assert [event.data["attempt"] for event in shown] == [1, 1, 2]
    # Painted, it was good for the shortest time; then as long as WhatsApp says.
    told = [n for _, n in world.wire.notices if isinstance(n, Qr)]
    assert [n.attempt for n in told] == [1, 1, 2]
    assert (told[1].expires - told[0].expires).total_seconds() == 60 - SHORTEST_TTL


def test_a_painted_code_is_no_proof_that_a_link_is_gone(world: World) -> None:
    world.linked(ANN)
    world.whatsapp.without_wa_js = True
    world.wire.command(ANN, e.Restart())
    world.wait_for(ANN, "starting", 2)
    world.until(lambda: world.browser(ANN).qr)

    world.advance(world.settings.start_timeout + 1)

    world.wait_for(ANN, "crashed")
    assert world.state(ANN).reason == "start_timeout"
    assert world.state(ANN).linked
    assert world.envelopes(ANN, "logged_out") == []


def test_a_page_that_wa_js_never_gets_into_is_started_anew(world: World) -> None:
    world.whatsapp.without_wa_js = True
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    world.advance(SHORTEST_TTL + QR_GRACE + 1)

    world.wait_for(ANN, "crashed")
    assert world.state(ANN).reason == "qr_stuck"


async def test_a_code_to_type_is_given_and_never_stored(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    answer = await world.wire.ask(ANN, "pairing-code", number=NUMBER)

    [asked] = world.envelopes(ANN, "pairing_code_asked")
    expires = str(asked.data["expires"]).replace("Z", "+00:00")
    assert answer.data == {"code": "WZYX1234", "expires": expires}
    stored = b"".join(stored.raw for stored in world.log.events)
    assert b"WZYX1234" not in stored
    assert NUMBER.encode() not in stored


async def test_a_session_does_not_rest_while_somebody_types_a_code(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    await world.wire.ask(ANN, "pairing-code", number=NUMBER)
    for _ in range(world.settings.qr_max + 1):
        world.browser(ANN).new_qr()
    world.wait_for(ANN, "qr_refreshed", world.settings.qr_max + 1)

    world.advance(TYPING_TIME + 1)
    world.browser(ANN).new_qr()

    world.wait_for(ANN, "rested")
    assert world.envelopes(ANN, "crashed") == []


async def test_a_page_that_waits_for_a_typed_code_need_show_no_other(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    await world.wire.ask(ANN, "pairing-code", number=NUMBER)

    world.advance(TYPING_TIME + QR_GRACE - 1)
    assert world.word(ANN) == "waiting_qr"
    world.advance(2)

    world.wait_for(ANN, "crashed")
    assert world.state(ANN).reason == "qr_stuck"


@pytest.mark.parametrize("number", ["12", "+49 170 1234567", "anna", None])
async def test_a_code_is_typed_into_a_phone_with_a_number(world: World, number: str | None) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    answer = await world.wire.ask(ANN, "pairing-code", number=number)

    assert answer.error is not None
    assert (answer.error.status, answer.error.reason) == (400, "bad_question")
    assert world.envelopes(ANN, "pairing_code_asked") == []


async def test_a_linked_session_has_no_code_to_type(world: World) -> None:
    world.linked(ANN)

    answer = await world.wire.ask(ANN, "pairing-code", number=NUMBER)

    assert answer.error is not None
    assert (answer.error.status, answer.error.reason) == (409, "not_pairing")
    assert world.envelopes(ANN, "pairing_code_asked") == []


def test_a_session_rests_when_nobody_scans(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    for _ in range(world.settings.qr_max):
        world.browser(ANN).new_qr()

    world.wait_for(ANN, "rested")
    assert len(world.envelopes(ANN, "qr_refreshed")) == world.settings.qr_max - 1
    world.until(lambda: not world.launcher.running)


def test_a_stopped_session_keeps_its_link_and_comes_back_without_a_scan(world: World) -> None:
    world.linked(ANN)

    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")
    world.until(lambda: not world.launcher.running)
    world.wire.command(ANN, e.Start())

    world.wait_for(ANN, "ready", 2)
    assert len(world.envelopes(ANN, "pairing")) == 1


def test_a_stopped_session_is_not_brought_back_by_a_new_life_of_the_node(world: World) -> None:
    world.linked(ANN)
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")

    world.stop()
    world.start()
    world.wait_for(ANN, "claimed", 2)

    assert world.state(ANN).state is State.STOPPED


def test_a_ready_session_says_so_when_the_node_stops_and_is_ready_again_after(world: World) -> None:
    world.linked(ANN)

    world.stop()

    assert world.word(ANN) == "initializing"
    assert not world.launcher.running
    world.start()
    world.wait_for(ANN, "ready", 2)
    assert len(world.envelopes(ANN, "pairing")) == 1


def test_after_a_kill_the_next_life_claims_and_restores(world: World) -> None:
    world.linked(ANN)
    world.kill()
    assert world.word(ANN) == "ready"

    world.start()

    world.wait_for(ANN, "ready", 2)
    assert len(world.envelopes(ANN, "claimed")) == 2


def test_a_crashed_browser_is_started_again_after_its_delay(world: World) -> None:
    world.linked(ANN)

    world.browser(ANN).die()
    world.wait_for(ANN, "backing_off")
    delay = Backoff().delay(1, ANN.dotted)
    world.advance(delay - 0.002)
    assert world.word(ANN) == "reconnecting"
    world.advance(0.003)

    world.wait_for(ANN, "ready", 2)


def test_a_page_that_never_works_is_tried_five_times_then_suspended_then_probed(
    world: World,
) -> None:
    world.launcher.fail_always(Unreachable("net::ERR_NAME_NOT_RESOLVED"))
    world.create(ANN)
    expected = [Backoff().delay(n, ANN.dotted) for n in range(1, 6)]

    for attempt, delay in enumerate(expected, 1):
        world.wait_for(ANN, "backing_off", attempt)
        world.advance(delay + 0.001)
    world.wait_for(ANN, "suspended")

    assert [b.data["delay"] for b in world.envelopes(ANN, "backing_off")] == expected
    assert world.state(ANN).error == "net::ERR_NAME_NOT_RESOLVED"
    world.wire.command(ANN, e.Start())
    world.until(lambda: refusals(world))
    [refused] = refusals(world)
    assert refused.status == 503
    assert refused.retry_after == pytest.approx(world.settings.suspend_time, abs=1)
    world.launcher.mend()
    world.advance(world.settings.suspend_time + 0.001)
    world.wait_for(ANN, "recovered")
    [probing] = world.envelopes(ANN, "probing")
    assert probing.data["rejected"] == 1
    assert world.word(ANN) == "waiting_qr"


def test_no_browser_is_said_in_the_session(world: World) -> None:
    world.launcher.fail(NoBrowser("PUPPETEER_EXECUTABLE_PATH=/nowhere does not exist"))

    world.create(ANN)

    world.wait_for(ANN, "crashed")
    state = world.state(ANN)
    assert state.reason == "no_browser"
    assert state.error is not None
    assert "PUPPETEER_EXECUTABLE_PATH" in state.error


def test_a_start_that_shows_nothing_ends_at_its_deadline(world: World) -> None:
    world.launcher.hold()
    world.create(ANN)
    world.wait_for(ANN, "starting")

    world.advance(world.settings.start_timeout + 0.001)

    world.wait_for(ANN, "crashed")
    assert world.state(ANN).reason == "start_timeout"
    world.launcher.release()


def test_a_page_that_hangs_is_noticed_by_the_probe(world: World) -> None:
    world.linked(ANN)
    world.browser(ANN).hang()

    world.advance(world.settings.probe_interval + 0.001)

    world.wait_for(ANN, "crashed")
    assert world.state(ANN).reason == "page_hung"


def test_a_conflict_parks_until_a_takeover(world: World) -> None:
    world.linked(ANN)

    world.browser(ANN).conflict()
    world.wait_for(ANN, "parked")
    world.advance(600)
    assert world.word(ANN) == "disconnected"
    world.wire.command(ANN, e.Takeover())

    world.wait_for(ANN, "ready", 2)


def test_whatsapp_away_is_offline_and_back_is_ready(world: World) -> None:
    world.linked(ANN)

    world.browser(ANN).drop()
    world.wait_for(ANN, "offline")
    assert world.word(ANN) == "disconnected"
    world.browser(ANN).reconnect()

    world.wait_for(ANN, "ready", 2)
    assert len(world.launcher.browsers) == 1


def test_an_unlink_on_the_phone_logs_out_and_is_never_reconnected(world: World) -> None:
    world.linked(ANN)

    world.whatsapp.unlink(NUMBER)

    world.wait_for(ANN, "logged_out")
    world.advance(600)
    assert world.word(ANN) == "logged_out"
    world.until(lambda: not world.launcher.running)


def test_a_logout_unlinks_at_whatsapp_before_the_profile_goes(world: World) -> None:
    world.linked(ANN)
    browser = world.browser(ANN)

    world.wire.command(ANN, e.Logout())

    world.wait_for(ANN, "logged_out")
    assert "log_out" in browser.calls
    assert world.envelopes(ANN, "logged_out")[0].data["confirmed"] is True
    world.until(lambda: [n for _, n in world.wire.notices if isinstance(n, Settled)])


def test_a_log_out_that_nobody_can_confirm_keeps_the_link(world: World) -> None:
    world.linked(ANN)
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")

    world.wire.command(ANN, e.Logout())

    world.until(lambda: refusals(world))
    assert world.state(ANN).linked
    assert world.envelopes(ANN, "logged_out") == []


def test_a_deleted_session_leaves_nothing_and_its_versions_go_on(world: World) -> None:
    world.linked(ANN)
    world.send(ANN, "m1")
    world.wait_for(ANN, "sent")
    before = world.state(ANN).version

    world.wire.command(ANN, e.Delete())
    world.wait_for(ANN, "removed")
    world.until(lambda: ANN in world.wire.forgotten)
    world.create(ANN)

    world.wait_for(ANN, "registered", 2)
    assert world.envelopes(ANN, "registered")[1].version > before
    world.wait_for(ANN, "pairing", 2)
    totals = world.envelopes(ANN, "claimed")[1].data["totals"]
    assert (totals["sent"], totals["message_version"]) == (0, 2)


def test_a_fresh_create_drops_the_link(world: World) -> None:
    world.linked(ANN)

    world.create(ANN, fresh=True)

    world.wait_for(ANN, "pairing", 2)
    assert not world.state(ANN).linked


def test_a_send_reaches_the_phone_once_and_is_settled_after_its_outcome(world: World) -> None:
    world.linked(ANN)

    command = world.send(ANN, "m1", "hello")

    world.wait_for(ANN, "sent")
    [sent] = world.envelopes(ANN, "sent")
    assert sent.causationid == command.id
    account = world.whatsapp.account(NUMBER)
    assert [m.body for m in account.chats[FRIEND].messages.values()] == ["hello"]
    world.until(lambda: [s for s in world.wire.settled if s.envelope is command])


def test_a_send_waits_while_the_session_is_not_ready(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")

    world.send(ANN, "m1")
    assert world.envelopes(ANN, "sending") == []
    world.browser(ANN).scan(NUMBER)

    world.wait_for(ANN, "sent")


@pytest.mark.parametrize(
    ("outcome", "on_the_phone"),
    [
        ("accepted_silently", 1),
        ("lost", 1),
        ("accepted_crash", 1),
        ("lost_crash", 1),
    ],
)
def test_an_unknown_outcome_is_looked_up_and_never_doubled(
    world: World, outcome: str, on_the_phone: int
) -> None:
    world.linked(ANN)
    world.whatsapp.sends.append(outcome)  # type: ignore[arg-type]

    world.send(ANN, "m1", "hello")
    world.wait_for(ANN, "sending")
    world.until(lambda: [s for s in world.wire.settled if s.word == "later"])
    world.advance(5)
    if outcome.endswith("crash"):
        world.wait_for(ANN, "ready", 2)
    else:
        world.wire.redeliver(ANN)

    world.wait_for(ANN, "sent")
    account = world.whatsapp.account(NUMBER)
    assert len(account.chats[FRIEND].messages) == on_the_phone
    assert len(world.envelopes(ANN, "sent")) == 1
    assert len(world.envelopes(ANN, "sending")) == 1


def test_a_refused_send_fails_with_its_reason(world: World) -> None:
    world.linked(ANN)
    world.whatsapp.unknown.add(FRIEND)

    world.send(ANN, "m1")

    world.wait_for(ANN, "failed")
    assert world.envelopes(ANN, "failed")[0].data["reason"] == "not_on_whatsapp"


def test_a_message_that_the_page_never_takes_holds_up_no_other_for_long(world: World) -> None:
    world.linked(ANN)
    world.whatsapp.sends.extend(["untaken"] * 5)
    bad = world.send(ANN, "bad")
    world.send(ANN, "good")

    for refusals_before in range(1, 5):
        world.until(lambda refused=refusals_before: len(settled(world, bad)) == refused)
        world.wire.redeliver(ANN)
    world.wait_for(ANN, "failed")
    world.wait_for(ANN, "sent")

    failed = world.envelopes(ANN, "failed")[0].data
    assert (failed["message"], failed["reason"]) == ("bad", "refused_by_page")
    assert world.envelopes(ANN, "sent")[0].data["message"] == "good"
    assert settled(world, bad) == [2.0, 4.0, 8.0, 16.0, 0.0]
    assert not world.envelopes(ANN, "operations_paused")


def test_a_message_of_unknown_outcome_that_no_page_takes_is_not_called_unsent(
    world: World,
) -> None:
    world.linked(ANN)
    world.whatsapp.sends.extend(["lost", *["untaken"] * 5])
    command = world.send(ANN, "m1")

    for tries in range(1, 6):
        world.until(lambda tries=tries: len(settled(world, command)) == tries)
        world.wire.redeliver(ANN)

    world.wait_for(ANN, "unresolved")
    assert world.envelopes(ANN, "unresolved")[0].data["reason"] == "refused_by_page"


def test_a_page_that_takes_no_message_at_all_costs_no_more_than_a_few(world: World) -> None:
    world.linked(ANN)
    world.whatsapp.sends.extend(["untaken"] * 100)
    for number in range(6):
        world.send(ANN, f"m{number}")

    def go_on() -> bool:
        world.advance(1)
        world.wire.redeliver(ANN)
        return any(s.delay == 30 for s in list(world.wire.settled))

    world.until(go_on)
    assert len(world.envelopes(ANN, "failed")) == 3


def settled(world: World, command: Envelope) -> list[float]:
    """After how long a command was to come again, each time it was settled."""
    return [s.delay for s in list(world.wire.settled) if s.envelope is command]


def test_a_send_that_takes_longer_than_its_queue_waits_is_not_made_twice(world: World) -> None:
    world.linked(ANN)
    browser = world.browser(ANN)
    browser.holding = True
    command = world.send(ANN, "m1")
    world.wait_for(ANN, "sending")

    receipt = FakeReceipt(command, world.wire, lambda: None)
    world.wire.ears[ANN].sends(Delivered(subjects.send_command(ANN), command, receipt))
    world.advance(0)
    browser.release()

    world.until(lambda: receipt.word)
    assert receipt.word == "done"
    assert browser.calls.count("send_text") == 1
    assert "find_message" not in browser.calls


def test_a_page_that_turned_blank_is_offline_and_started_again(world: World) -> None:
    world.linked(ANN)
    page = world.browser(ANN)

    page.status_now = PageStatus("", "", False, None)
    world.until(lambda: world.advance(1) or world.envelopes(ANN, "offline"))
    world.until(lambda: world.advance(1) or len(world.envelopes(ANN, "ready")) == 2)

    assert world.envelopes(ANN, "offline")[0].data["reason"] == "no_page"
    assert world.envelopes(ANN, "crashed")[0].data["reason"] == "offline_timeout"


def test_a_long_catch_up_leaves_room_for_questions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.session.AT_ONCE", 10)
    world.linked(ANN)
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")
    missed = [world.whatsapp.deliver(NUMBER, FRIEND, f"{n}").wa_id for n in range(95)]

    world.wire.command(ANN, e.Start())
    world.wait_for(ANN, "received", 95)

    assert [event.data["wa_id"] for event in world.envelopes(ANN, "received")] == missed
    late = world.whatsapp.deliver(NUMBER, FRIEND, "late").wa_id
    world.wait_for(ANN, "received", 96)
    assert world.envelopes(ANN, "received")[-1].data["wa_id"] == late


def test_a_fresh_create_that_is_delivered_twice_is_carried_out_once(world: World) -> None:
    world.linked(ANN)
    create = world.create(ANN, fresh=True)
    world.wait_for(ANN, "pairing", 2)
    world.browser(ANN).scan(NUMBER)
    world.wait_for(ANN, "ready", 2)

    again = FakeReceipt(create, world.wire, lambda: None)
    world.creates.control(Delivered(subjects.create_command("ann"), create, again))

    world.until(lambda: again.word)
    assert world.word(ANN) == "ready"
    assert again.word == "done"


def test_the_create_that_registered_a_session_is_not_carried_out_on_it_again(world: World) -> None:
    create = world.create(ANN, fresh=True)
    world.wait_for(ANN, "pairing")
    world.browser(ANN).scan(NUMBER)
    world.wait_for(ANN, "ready")

    again = FakeReceipt(create, world.wire, lambda: None)
    world.creates.control(Delivered(subjects.create_command("ann"), create, again))

    world.until(lambda: again.word)
    assert (world.word(ANN), again.word) == ("ready", "done")


def test_a_send_past_its_deadline_expires_even_if_the_session_never_runs(world: World) -> None:
    world.create(ANN)
    world.wait_for(ANN, "pairing")
    world.send(ANN, "m1", within=30)

    world.until(lambda: world.advance(6) or world.envelopes(ANN, "expired"))


def test_the_same_key_again_is_sent_once(world: World) -> None:
    world.linked(ANN)
    world.send(ANN, "m1")
    world.wait_for(ANN, "sent")

    again = world.send(ANN, "m1")

    world.until(lambda: [s for s in world.wire.settled if s.envelope is again])
    assert len(world.envelopes(ANN, "sending")) == 1


def test_the_same_key_is_known_in_the_next_life(world: World) -> None:
    world.linked(ANN)
    world.send(ANN, "m1")
    world.wait_for(ANN, "sent")
    world.stop()
    world.start()
    world.wait_for(ANN, "ready", 2)

    again = world.send(ANN, "m1")

    world.until(lambda: [s for s in world.wire.settled if s.envelope is again])
    assert len(world.envelopes(ANN, "sending")) == 1


def test_a_settled_send_is_known_however_many_came_after_it(world: World) -> None:
    world.linked(ANN)
    world.send(ANN, "first", "hello")
    world.wait_for(ANN, "sent")
    world.kill()
    write_sends(world, 5_001)

    world.start()
    world.wait_for(ANN, "ready", 2)
    world.send(ANN, "first", "hello")
    world.until(lambda: [s.word for s in world.wire.settled][-2:] == ["done", "done"])

    assert len(world.envelopes(ANN, "sending")) == 5_002
    assert len(world.whatsapp.account(NUMBER).chats[FRIEND].messages) == 1


def test_a_settled_send_that_was_forgotten_is_looked_up_in_the_log(world: World) -> None:
    world.linked(ANN)
    began = world.clock.now()
    first = world.send(ANN, "first", "hello")
    world.wait_for(ANN, "sent")
    world.advance(2 * world.settings.send_memory)
    world.send(ANN, "second")
    world.wait_for(ANN, "sent", 2)
    world.until(lambda: not world.wire.outbox[ANN], "the second one is settled")

    world.wire.outbox[ANN].append(first.model_copy(update={"time": began}))
    world.wire.redeliver(ANN)
    world.until(lambda: [s.envelope.id for s in world.wire.settled].count(first.id) == 2)

    assert len(world.envelopes(ANN, "sending")) == 2
    assert len(world.whatsapp.account(NUMBER).chats[FRIEND].messages) == 2


def write_sends(world: World, count: int) -> None:
    """Write sends that went well, as an owner writes them."""
    version, tail = 2, world.loop.wait(world.log.tail(FAMILY))

    async def write(event: MessageEvent) -> None:
        nonlocal version, tail
        version += 1
        now = world.clock.now()
        sealed = codec.seal(event, subject=ANN.dotted, source="test", at=now, version=version)
        subject = subjects.message_event(ANN, event.kind)
        tail = await world.log.append(subject, sealed, Guard(FAMILY, tail))

    async def write_all() -> None:
        for n in range(count):
            await write(Sending(message=f"m{n}", wa_id=f"W{n}", to=FRIEND, body="hi"))
            at = world.clock.now()
            sent = Sent(message=f"m{n}", wa_id=f"W{n}", key=f"k{n}", chat=FRIEND, ack=1, at=at)
            await write(sent)

    world.loop.wait(write_all())


def test_receipts_are_recorded_once_and_only_forwards(world: World) -> None:
    world.linked(ANN)
    world.send(ANN, "m1")
    world.wait_for(ANN, "sent")
    wa_id = str(world.envelopes(ANN, "sent")[0].data["wa_id"])

    for ack in (2, 2, 3, 2):
        world.whatsapp.ack(NUMBER, wa_id, ack)

    world.wait_for(ANN, "read")
    assert len(world.envelopes(ANN, "delivered")) == 1


def test_what_came_while_away_is_received_once_and_in_order(world: World) -> None:
    world.linked(ANN)
    world.whatsapp.deliver(NUMBER, FRIEND, "before")
    world.wait_for(ANN, "received")
    world.stop()
    for number in range(50):
        world.whatsapp.deliver(NUMBER, FRIEND, f"away {number}")

    world.start()
    world.wait_for(ANN, "received", 51)
    world.whatsapp.deliver(NUMBER, FRIEND, "after")
    world.wait_for(ANN, "received", 52)

    bodies = [envelope.data["body"] for envelope in world.envelopes(ANN, "received")]
    assert bodies == ["before", *(f"away {number}" for number in range(50)), "after"]


def test_what_came_in_the_very_second_of_the_link_is_received(world: World) -> None:
    world.advance(0.7)
    world.linked(ANN)
    linked_at = world.state(ANN).linked_at
    assert linked_at is not None
    assert linked_at.microsecond
    world.wire.command(ANN, e.Stop())
    world.wait_for(ANN, "stopped")

    # WhatsApp tells whole seconds.
    missed = world.whatsapp.deliver(NUMBER, FRIEND, "hi", at=linked_at.replace(microsecond=0))
    world.wire.command(ANN, e.Start())

    world.wait_for(ANN, "received")
    assert world.envelopes(ANN, "received")[0].data["wa_id"] == missed.wa_id


def test_what_came_while_offline_is_received(world: World) -> None:
    world.linked(ANN)
    world.browser(ANN).drop()
    world.wait_for(ANN, "offline")

    world.whatsapp.deliver(NUMBER, FRIEND, "missed")
    world.browser(ANN).reconnect()

    world.wait_for(ANN, "received")


def test_a_second_owner_stops_the_first_one(world: World) -> None:
    world.linked(ANN)
    other = world.log
    stale = world.envelopes(ANN, "ready")[0]

    async def claim_elsewhere() -> None:
        from events import codec, subjects
        from events.log import Guard

        family = subjects.session_family(ANN)
        envelope = codec.seal(
            e.Claimed(life="other"),
            subject=ANN.dotted,
            source="wa/test",
            at=world.clock.now(),
            version=(stale.version or 0) + 1,
        )
        await other.append(
            subjects.session_event(ANN, "claimed"),
            envelope,
            Guard(family, await other.tail(family)),
        )

    asyncio.run(claim_elsewhere())
    world.send(ANN, "m1")

    world.until(lambda: not world.launcher.running)
    assert world.envelopes(ANN, "sending") == []


def test_a_broker_that_never_answers_ends_the_life_and_the_next_one_goes_on(world: World) -> None:
    world.linked(ANN)
    world.log.faults.refuse = 1

    world.send(ANN, "m1")

    world.until(lambda: not world.launcher.running)
    world.until(lambda: world.advance(5) or len(world.envelopes(ANN, "ready")) == 2)
    world.wait_for(ANN, "sent")


async def test_questions_are_answered_by_the_owner(world: World) -> None:
    await asyncio.to_thread(world.linked, ANN)
    world.whatsapp.deliver(NUMBER, FRIEND, "hello")

    chats = await world.wire.ask(ANN, "chats")
    number = await world.wire.ask(ANN, "check-number", number=FRIEND)
    no_code = await world.wire.ask(ANN, "qr")

    assert isinstance(chats.data, list)
    assert chats.data[0]["id"] == FRIEND  # type: ignore[index,call-overload]
    assert number.data == {"exists": True, "id": FRIEND}
    assert no_code.error is not None
    assert no_code.error.status == 404


def test_launches_wait_for_a_free_slot_and_say_their_place(tmp_path: Path) -> None:
    bots = [SessionId("ann", f"bot{n}") for n in range(3)]
    with a_world(tmp_path, start_concurrency=1) as world:
        world.launcher.hold()
        for bot in bots:
            world.create(bot)
        world.until(lambda: len([k for k in world.kinds() if k == "session.queued"]) == 3)
        world.until(lambda: "session.starting" in world.kinds())
        assert len([k for k in world.kinds() if k == "session.starting"]) == 1

        world.launcher.release()

        for bot in bots:
            world.wait_for(bot, "pairing")


def test_one_session_that_fails_to_start_holds_up_no_other(tmp_path: Path) -> None:
    with a_world(tmp_path, start_concurrency=1) as world:
        world.launcher.fail(LaunchFailed("scripted"))
        bad, good = SessionId("ann", "bad"), SessionId("ann", "good")
        world.create(bad)
        world.wait_for(bad, "backing_off")

        world.create(good)

        world.wait_for(good, "pairing")
