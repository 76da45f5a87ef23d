"""What every browser does, the fake of the tests and Chromium alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from actors.browser.protocol import (
    AckSeen,
    Gone,
    LoggedOut,
    MessageSeen,
    NotSent,
    PageGone,
    PageRefused,
    PageTimeout,
    ProfileBusy,
    QrIdle,
    QrShown,
    StateSeen,
)
from actors.vault.damage import damage
from tests.browser.simulated import simulator_url  # noqa: F401  # a fixture
from tests.browser.world import ALICE, BOB, ME, World, chromium_world, fake_world, now
from tests.fakes.browser import new_id

# pyppeteer's connection still names its loop to websockets.
pytestmark = pytest.mark.filterwarnings("ignore:remove loop argument:DeprecationWarning")

TO_ALICE = f"{ALICE}@c.us"


@pytest.fixture(params=["fake", pytest.param("chromium", marks=pytest.mark.browser)])
def where(request: pytest.FixtureRequest) -> str | None:
    """Where WhatsApp is: nowhere but in memory, or at a URL."""
    return request.getfixturevalue("simulator_url") if request.param == "chromium" else None


@pytest.fixture
async def world(where: str | None, tmp_path: Path) -> AsyncIterator[World]:
    """Both worlds, one after the other."""
    async with chromium_world(tmp_path, where) if where else fake_world(tmp_path) as world:
        yield world


# --- linking ------------------------------------------------------------------------


async def test_a_new_profile_shows_a_code(world: World) -> None:
    page = await world.start()

    code = await page.seen.next(QrShown)
    await page.seen.next(StateSeen, lambda seen: seen.status.mode == "QR")
    status = await page.browser.status()

    assert code.code.startswith("2@")
    assert code.ttl > 0
    assert (status.socket, status.mode) == ("UNPAIRED", "QR")
    assert not status.authenticated
    assert status.identity is None
    assert page.browser.pid


async def test_a_scan_leads_to_a_ready_page_that_knows_who_it_is(world: World) -> None:
    page = await world.linked()

    status = await page.browser.status()

    assert (status.socket, status.mode, status.authenticated) == ("CONNECTED", "MAIN", True)
    assert status.identity
    assert status.identity.phone == f"{ME}@c.us"
    assert status.identity.lid
    assert status.identity.lid.endswith("@lid")
    assert status.identity.push_name == "Sim"


async def test_a_linked_profile_is_ready_again_without_a_code(world: World) -> None:
    page = await world.linked()
    await page.browser.close()

    again = await world.start()
    await again.seen.ready()

    assert not again.seen.of(QrShown)


async def test_the_first_code_is_read_off_the_page_and_told_again_by_wa_js(world: World) -> None:
    page = await world.start()

    painted = await page.seen.next(QrShown)
    told = await page.seen.next(QrShown, lambda shown: not shown.painted)

    assert painted.painted
    assert painted.ref == told.ref
    # WhatsApp's page adds the kind of device, which wa-js leaves out.
    assert painted.code == f"{told.code},1"


async def test_a_painted_code_can_be_scanned_before_wa_js_is_there(world: World) -> None:
    page = await world.start()
    painted = await page.seen.next(QrShown, lambda shown: shown.painted)

    await world.scan(page, painted.code, ME)

    await page.seen.ready()


async def test_a_refresh_brings_another_code(world: World) -> None:
    page = await world.start()
    first = await page.seen.next(QrShown)

    await page.browser.refresh_qr()

    await page.seen.next(QrShown, lambda shown: shown.ref != first.ref)


async def test_used_up_codes_are_told_and_a_refresh_brings_new_ones(world: World) -> None:
    page = await world.start()
    await page.seen.next(QrShown)
    await world.use_up_codes(page)
    await page.seen.next(QrIdle)
    mark = page.seen.mark()

    await page.browser.refresh_qr()

    await page.seen.next(QrShown, after=mark)


async def test_a_pairing_code_links_without_a_scan(world: World) -> None:
    page = await world.start()
    await page.seen.next(QrShown)

    code = await page.browser.pairing_code(ME)
    await world.enter(page, code, ME)

    await page.seen.ready()


async def test_a_page_that_is_not_linked_refuses_to_send(world: World) -> None:
    page = await world.start()
    await page.seen.next(QrShown)

    with pytest.raises(PageRefused) as refused:
        await page.browser.send_text(TO_ALICE, "hello", new_id())

    assert refused.value.code == "not_linked"


# --- sending ------------------------------------------------------------------------


async def test_a_send_returns_acknowledged_under_the_id_we_chose(world: World) -> None:
    page = await world.linked()
    wa_id = new_id()

    sent = await page.browser.send_text(TO_ALICE, "hello", wa_id)

    assert (sent.wa_id, sent.chat, sent.body) == (wa_id, TO_ALICE, "hello")
    assert sent.key == f"true_{TO_ALICE}_{wa_id}"
    assert sent.from_me
    assert sent.sender == f"{ME}@c.us"
    assert sent.ack >= 1
    assert abs(sent.at - (await page.browser.messages(TO_ALICE, 1))[0].at) == timedelta(0)


async def test_a_send_is_seen_in_the_page_and_acknowledged_there(world: World) -> None:
    page = await world.linked()
    wa_id = new_id()

    await page.browser.send_text(TO_ALICE, "hello", wa_id)

    echo = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert (echo.from_me, echo.body, echo.author) == (True, "hello", None)
    await page.seen.next(AckSeen, lambda a: (a.wa_id, a.ack, a.chat) == (wa_id, 1, TO_ALICE))


async def test_receipts_are_seen(world: World) -> None:
    await world.only_server_acks()
    page = await world.linked()
    wa_id = new_id()
    await page.browser.send_text(TO_ALICE, "hello", wa_id)

    await world.ack(wa_id, 2)
    await world.ack(wa_id, 3)

    await page.seen.next(AckSeen, lambda a: (a.wa_id, a.ack, a.chat) == (wa_id, 2, TO_ALICE))
    await page.seen.next(AckSeen, lambda a: (a.wa_id, a.ack, a.chat) == (wa_id, 3, TO_ALICE))


async def test_a_receipt_for_a_message_of_an_earlier_life_is_seen(world: World) -> None:
    await world.only_server_acks()
    page = await world.linked()
    wa_id = new_id()
    await page.browser.send_text(TO_ALICE, "hello", wa_id)
    await page.browser.close()
    again = await world.start()
    await again.seen.ready()

    await world.ack(wa_id, 3)

    await again.seen.next(AckSeen, lambda a: (a.wa_id, a.ack, a.chat) == (wa_id, 3, TO_ALICE))


async def test_the_same_id_sent_twice_reaches_whatsapp_once(world: World) -> None:
    page = await world.linked()
    wa_id = new_id()

    first = await page.browser.send_text(TO_ALICE, "hello", wa_id)
    second = await page.browser.send_text(TO_ALICE, "hello", wa_id)

    assert first.key == second.key
    assert await world.repeats() == {}


async def test_a_send_without_an_acknowledgement_is_unknown_and_can_be_looked_up(
    world: World,
) -> None:
    page = await world.linked()
    wa_id = new_id()
    await world.withhold_acks()

    with pytest.raises(PageTimeout):
        await page.browser.send_text(TO_ALICE, "hello", wa_id)
    found = await page.browser.find_message(TO_ALICE, wa_id)

    assert found
    assert found.ack == 0
    await world.release_acks(wa_id)
    await page.seen.next(AckSeen, lambda a: (a.wa_id, a.ack) == (wa_id, 1))


async def test_a_message_nobody_sent_is_not_found(world: World) -> None:
    page = await world.linked()
    await page.browser.send_text(TO_ALICE, "hello", new_id())

    assert await page.browser.find_message(TO_ALICE, new_id()) is None
    assert await page.browser.find_message(f"{BOB}@c.us", new_id()) is None


async def test_a_sent_message_is_found_after_a_restart(world: World) -> None:
    page = await world.linked()
    wa_id = new_id()
    await page.browser.send_text(TO_ALICE, "hello", wa_id)
    await page.browser.close()
    again = await world.start()
    await again.seen.ready()

    found = await again.browser.find_message(TO_ALICE, wa_id)

    assert found
    assert found.ack >= 1


async def test_a_number_that_is_not_on_whatsapp_is_refused_for_good(world: World) -> None:
    await world.not_on_whatsapp(BOB)
    page = await world.linked()

    with pytest.raises(NotSent) as refused:
        await page.browser.send_text(f"{BOB}@c.us", "hello", new_id())

    assert refused.value.reason == "not_on_whatsapp"
    assert await page.browser.check_number(BOB) is None
    assert await page.browser.check_number(ALICE) == TO_ALICE


async def test_a_group_we_are_not_in_is_refused_for_good(world: World) -> None:
    page = await world.linked()

    with pytest.raises(NotSent) as refused:
        await page.browser.send_text("120363999999999999@g.us", "hello", new_id())

    assert refused.value.reason == "chat_not_found"


async def test_a_chat_that_lives_under_a_lid_is_reached_by_phone(world: World) -> None:
    lid = await world.lid_chat(ALICE)
    page = await world.linked()
    wa_id = new_id()

    sent = await page.browser.send_text(TO_ALICE, "hello", wa_id)

    assert sent.key == f"true_{lid}_{wa_id}"
    assert sent.chat == TO_ALICE
    for address in (TO_ALICE, lid):
        found = await page.browser.find_message(address, wa_id)
        assert found
        assert found.wa_id == wa_id


async def test_a_message_to_a_group_carries_ourselves_in_its_key(world: World) -> None:
    group = await world.group(ALICE, BOB)
    page = await world.linked()
    wa_id = new_id()

    sent = await page.browser.send_text(group, "hello all", wa_id)

    assert sent.chat == group
    assert sent.key.startswith(f"true_{group}_{wa_id}_")
    assert sent.author == f"{ME}@c.us"
    found = await page.browser.find_message(group, wa_id)
    assert found
    assert found.key == sent.key


# --- receiving ----------------------------------------------------------------------


async def test_a_message_is_seen_as_it_comes(world: World) -> None:
    page = await world.linked()

    wa_id = await world.incoming(ALICE, "hi there")

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert (seen.chat, seen.sender, seen.author) == (TO_ALICE, TO_ALICE, None)
    assert (seen.from_me, seen.kind, seen.body) == (False, "chat", "hi there")
    assert seen.key == f"false_{TO_ALICE}_{wa_id}"
    assert seen.at.utcoffset() == timedelta(0)


async def test_a_message_from_a_lid_is_seen_under_the_phone(world: World) -> None:
    lid = await world.lid_chat(ALICE)
    page = await world.linked()

    wa_id = await world.incoming(ALICE, "hi there")

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert (seen.chat, seen.sender) == (TO_ALICE, TO_ALICE)
    assert seen.key == f"false_{lid}_{wa_id}"


async def test_a_message_in_a_group_names_its_author(world: World) -> None:
    group = await world.group(ALICE, BOB)
    page = await world.linked()

    wa_id = await world.incoming(ALICE, "hi all", group=group)

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert seen.chat == group
    # The phone behind a member's LID is not always known to the page.
    assert seen.author in (TO_ALICE, f"9{ALICE}@lid")
    assert seen.sender == seen.author


async def test_what_another_device_of_ours_sends_is_seen_as_our_own(world: World) -> None:
    page = await world.linked("ann")
    other = await world.linked("laptop")
    wa_id = new_id()

    await other.browser.send_text(TO_ALICE, "from the other one", wa_id)

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert seen.from_me
    assert seen.chat == TO_ALICE


async def test_what_came_while_the_browser_was_closed_is_read_afterwards(world: World) -> None:
    page = await world.linked()
    old = await world.incoming(ALICE, "old", at=now() - timedelta(hours=1))
    await page.seen.next(MessageSeen, lambda m: m.wa_id == old)
    await page.browser.close()
    since = now()
    missed = [
        await world.incoming(ALICE, "first", at=since),
        await world.incoming(BOB, "second", at=since + timedelta(seconds=1)),
        await world.incoming(ALICE, "third", at=since + timedelta(seconds=2)),
    ]

    again = await world.start()
    await again.seen.ready()
    found = await again.browser.messages_since(since)

    assert [message.wa_id for message in found] == missed


async def test_many_missed_messages_are_all_read(world: World) -> None:
    page = await world.linked()
    await page.browser.close()
    since = now() - timedelta(hours=1)
    missed = [
        await world.incoming(ALICE, f"number {n}", at=since + timedelta(seconds=n))
        for n in range(120)
    ]

    again = await world.start()
    await again.seen.ready()
    found = await again.browser.messages_since(since)

    assert [message.wa_id for message in found] == missed


async def test_many_messages_of_one_second_are_read_in_order(world: World) -> None:
    page = await world.linked()
    await page.browser.close()
    since = now() - timedelta(hours=1)
    missed = [await world.incoming(ALICE, f"number {n}", at=since) for n in range(120)]

    again = await world.start()
    await again.seen.ready()
    found = await again.browser.messages_since(since)

    assert [message.wa_id for message in found] == missed


async def test_without_a_time_only_what_is_unread_is_read(world: World) -> None:
    page = await world.linked()
    read = await world.incoming(ALICE, "read")
    await page.seen.next(MessageSeen, lambda m: m.wa_id == read)
    await page.browser.mark_seen(TO_ALICE)

    unread = await world.incoming(BOB, "unread")
    await page.seen.next(MessageSeen, lambda m: m.wa_id == unread)

    found = await page.browser.messages_since(None)
    assert [message.wa_id for message in found] == [unread]


async def test_chats_are_listed_newest_first(world: World) -> None:
    page = await world.linked()
    for sender, ago in ((ALICE, 20), (BOB, 10)):
        wa_id = await world.incoming(sender, "hi", at=now() - timedelta(seconds=ago))
        await page.seen.next(MessageSeen, lambda m, wa_id=wa_id: m.wa_id == wa_id)

    chats = await page.browser.chats()

    assert [chat.id for chat in chats] == [f"{BOB}@c.us", TO_ALICE]
    assert [chat.unread for chat in chats] == [1, 1]
    assert [chat.group for chat in chats] == [False, False]
    assert chats[0].at
    assert chats[1].at
    assert chats[0].at > chats[1].at


async def test_the_last_messages_of_a_chat_are_read_oldest_first(world: World) -> None:
    page = await world.linked()
    ids = [
        await world.incoming(ALICE, f"number {n}", at=now() - timedelta(seconds=10 - n))
        for n in range(4)
    ]
    await page.seen.next(MessageSeen, lambda m: m.wa_id == ids[-1])

    last = await page.browser.messages(TO_ALICE, 3)

    assert [message.wa_id for message in last] == ids[1:]
    assert await page.browser.messages(f"{BOB}@c.us", 3) == []


async def test_typing_and_reading_are_shown(world: World) -> None:
    page = await world.linked()
    wa_id = await world.incoming(ALICE, "hi")
    await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)

    await page.browser.set_typing(TO_ALICE, True)
    await page.browser.set_typing(TO_ALICE, False)
    await page.browser.mark_seen(TO_ALICE)

    assert [chat.unread for chat in await page.browser.chats()] == [0]


async def test_groups_are_listed_with_their_members(world: World) -> None:
    group = await world.group(ALICE, BOB)
    page = await world.linked()
    wa_id = await world.incoming(ALICE, "hi all", group=group)
    await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)

    [found] = await page.browser.groups()

    assert (found.id, found.name, len(found.members)) == (group, "Friends", 3)


async def test_both_addresses_of_a_contact_are_told_from_either(world: World) -> None:
    lid = await world.lid_chat(ALICE)
    page = await world.linked()

    by_phone = await page.browser.addresses(TO_ALICE)
    by_lid = await page.browser.addresses(lid)

    assert (by_phone.phone, by_phone.lid) == (TO_ALICE, lid)
    assert by_lid == by_phone


# --- losing the link ----------------------------------------------------------------


async def test_a_device_removed_on_the_phone_is_told_and_can_be_linked_again(world: World) -> None:
    page = await world.linked()
    mark = page.seen.mark()

    await world.unlink()

    told = await page.seen.next(LoggedOut, after=mark)
    assert told.reason == "unknown_companion"
    code = await page.seen.next(QrShown, after=mark)
    assert not (await page.browser.status()).authenticated
    mark = page.seen.mark()
    await world.scan(page, code.code, ME)
    await page.seen.ready(after=mark)
    sent = await page.browser.send_text(TO_ALICE, "here again", new_id())
    assert sent.ack >= 1


async def test_a_logout_is_confirmed_and_shows_a_code(world: World) -> None:
    page = await world.linked()
    mark = page.seen.mark()

    await page.browser.log_out()

    assert [told.reason for told in page.seen.of(LoggedOut)] == ["user_initiated"]
    await page.seen.next(QrShown, after=mark)


async def test_a_conflict_is_seen_and_taken_over(world: World) -> None:
    page = await world.linked()
    await world.conflict(page)
    await page.seen.next(StateSeen, lambda s: s.status.socket == "CONFLICT")
    mark = page.seen.mark()

    await page.browser.take_over()

    await page.seen.ready(after=mark)
    assert (await page.browser.send_text(TO_ALICE, "me again", new_id())).ack >= 1


async def test_a_dropped_connection_is_seen_and_comes_back(world: World) -> None:
    page = await world.linked()
    mark = page.seen.mark()

    await world.drop(page)

    away = await page.seen.next(StateSeen, lambda s: s.status.socket != "CONNECTED", after=mark)
    assert away.status.authenticated
    back = page.seen.all.index(away)
    await page.seen.next(StateSeen, lambda s: s.status.socket == "CONNECTED", after=back)


# --- the end ------------------------------------------------------------------------


async def test_a_crashed_page_is_told_once_and_ends_its_calls(world: World) -> None:
    page = await world.linked()

    await world.crash(page)

    gone = await page.seen.next(Gone)
    assert gone.reason == "page_crashed"
    with pytest.raises(PageGone):
        await page.browser.status()
    await page.browser.close()
    assert page.seen.of(Gone) == [gone]
    assert page.seen.all[-1] == gone


async def test_a_killed_browser_is_told_once_and_ends_its_calls(world: World) -> None:
    page = await world.linked()

    await world.kill(page)

    gone = await page.seen.next(Gone)
    assert gone.reason == "browser_exited"
    assert page.browser.pid is None
    with pytest.raises(PageGone):
        await page.browser.send_text(TO_ALICE, "hello", new_id())
    assert await page.browser.close() is False
    assert page.seen.of(Gone) == [gone]


async def test_a_page_that_hangs_times_out_and_can_be_closed(world: World) -> None:
    page = await world.linked()
    await world.hang(page)

    with pytest.raises(PageTimeout):
        await page.browser.status()

    await page.browser.close()
    assert page.browser.pid is None


async def test_a_closed_browser_says_nothing_more(world: World) -> None:
    page = await world.linked()

    graceful = await page.browser.close()

    assert graceful
    assert await page.browser.close() is graceful
    assert page.browser.pid is None
    assert not page.seen.of(Gone)
    told = page.seen.mark()
    await world.incoming(ALICE, "too late")
    await asyncio.sleep(0)
    assert page.seen.mark() == told
    with pytest.raises(PageGone):
        await page.browser.status()


async def test_a_browser_that_was_never_started_can_be_closed(world: World) -> None:
    browser = world.launcher.browser(world.root / "nobody", "nobody")

    with pytest.raises(PageGone):
        await browser.status()

    assert await browser.close()
    assert browser.pid is None


async def test_a_profile_takes_one_browser_at_a_time(world: World) -> None:
    page = await world.start()
    await page.seen.next(QrShown)

    with pytest.raises(ProfileBusy):
        await world.start()

    await page.browser.close()
    again = await world.start()
    await again.seen.next(QrShown)


async def test_a_screenshot_is_a_png(world: World) -> None:
    page = await world.start()
    await page.seen.next(QrShown)

    assert (await page.browser.screenshot()).startswith(b"\x89PNG")


async def test_there_are_no_orphans_of_a_life_that_closed_its_browsers(world: World) -> None:
    page = await world.start()
    await page.browser.close()

    assert await world.launcher.reap_orphans() == 0


# --- the profile --------------------------------------------------------------------


async def test_a_copy_of_the_profile_of_a_running_page_is_linked(
    world: World, tmp_path: Path
) -> None:
    page = await world.linked()
    copied = tmp_path / "copied"

    await page.browser.copy_profile(copied)
    await page.browser.close()

    assert damage(copied) is None
    assert not (copied / "tmp").exists()


async def test_a_page_that_was_copied_goes_on(world: World, tmp_path: Path) -> None:
    page = await world.linked()

    await page.browser.copy_profile(tmp_path / "copied")

    assert (await page.browser.status()).authenticated


async def test_a_browser_that_is_closed_has_nothing_to_copy(world: World, tmp_path: Path) -> None:
    page = await world.start()
    await page.browser.close()

    with pytest.raises(PageGone):
        await page.browser.copy_profile(tmp_path / "copied")
