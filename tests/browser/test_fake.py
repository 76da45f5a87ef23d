"""What only the fake does: outcomes on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.browser.protocol import (
    AckSeen,
    Gone,
    LaunchFailed,
    MessageSeen,
    NotSent,
    PageGone,
    PageTimeout,
    StateSeen,
)
from tests.browser.world import ALICE, ME, FakeWorld, Page, fake, fake_world
from tests.fakes.browser import new_id

TO_ALICE = f"{ALICE}@c.us"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    """Everything in memory."""
    async with fake_world(tmp_path) as world:
        yield world


@pytest.mark.parametrize(
    ("outcome", "error", "found_after_a_restart"),
    [
        ("accepted_silently", PageTimeout, True),
        ("accepted_crash", PageGone, True),
        ("pending", PageTimeout, True),
        ("lost", PageTimeout, False),
        ("lost_crash", PageGone, False),
        ("rejected", NotSent, False),
    ],
)
async def test_a_send_ends_as_scripted(
    world: FakeWorld, outcome: str, error: type[Exception], found_after_a_restart: bool
) -> None:
    page = await world.linked()
    world.whatsapp.sends.append(outcome)
    wa_id = new_id()

    with pytest.raises(error):
        await page.browser.send_text(TO_ALICE, "hello", wa_id)

    await page.browser.close()
    again = await world.start()
    await again.seen.ready()
    found = await again.browser.find_message(TO_ALICE, wa_id)
    assert (found is not None and found.ack >= 1) == found_after_a_restart
    assert world.whatsapp.account(ME).repeats == {}


async def test_a_send_while_offline_goes_out_with_the_reconnect(world: FakeWorld) -> None:
    page = await world.linked()
    fake(page).drop()
    wa_id = new_id()
    with pytest.raises(PageTimeout):
        await page.browser.send_text(TO_ALICE, "hello", wa_id)

    fake(page).reconnect()

    await page.seen.next(AckSeen, lambda told: (told.wa_id, told.ack) == (wa_id, 1))
    assert world.whatsapp.account(ME).handed_over[wa_id] == 1


async def test_what_is_missed_while_offline_is_only_in_the_chats(world: FakeWorld) -> None:
    page = await world.linked()
    fake(page).drop()
    wa_id = await world.incoming(ALICE, "hi")
    fake(page).reconnect()

    assert not page.seen.of(MessageSeen)
    assert [m.wa_id for m in await page.browser.messages_since(None)] == [wa_id]


async def test_held_calls_end_with_a_crash(world: FakeWorld) -> None:
    page = await world.linked()
    fake(page).hold()
    pending = asyncio.create_task(page.browser.status())
    await asyncio.sleep(0)

    fake(page).crash()

    with pytest.raises(PageGone):
        await pending
    assert page.seen.of(Gone)


async def test_held_launches_go_on_when_released(world: FakeWorld) -> None:
    world.launcher.hold()
    page = Page(world.launcher.browser(world.root / "ann", "ann"))
    starting = asyncio.create_task(page.browser.start(page.seen))
    await asyncio.sleep(0)
    assert not starting.done()

    world.launcher.release()

    await starting
    assert page.browser.pid


async def test_launches_fail_as_often_as_scripted(world: FakeWorld) -> None:
    world.launcher.fail(LaunchFailed("one"), LaunchFailed("two"))

    for text in ("one", "two"):
        with pytest.raises(LaunchFailed, match=text):
            await world.start()

    assert (await world.start()).browser.pid
    assert world.launcher.starts == 3
    assert len(world.launcher.running) == 1


async def test_controls_work_from_another_thread(world: FakeWorld) -> None:
    page = await world.start()
    await asyncio.sleep(0)

    await asyncio.to_thread(fake(page).scan, ME)

    assert page.seen.of(StateSeen)[-1].status.mode == "MAIN"


async def test_a_synchronisation_can_be_held_open(world: FakeWorld) -> None:
    world.whatsapp.slow_sync = True
    page = await world.start()
    await asyncio.sleep(0)
    fake(page).scan(ME)
    assert (await page.browser.status()).mode == "SYNCING"

    fake(page).finish_sync()

    assert (await page.browser.status()).mode == "MAIN"
