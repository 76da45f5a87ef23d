"""What goes wrong on request, and what the page makes of it."""

import asyncio
from pathlib import Path

import pytest

from tests.simulator.browser import Tab, chromium
from tests.simulator.conftest import QUICK
from tests.simulator.process import Simulator, simulator
from tests.simulator.test_wa_js import ALICE, CHAT, ME, bare, link

pytestmark = pytest.mark.browser

SOCKET = "(state) => window.WPP && WPP.whatsapp.Socket.state === state"
ACK = "(key) => WPP.whatsapp.MsgStore.get(key).ack"


async def test_a_message_whose_ack_was_lost_is_sent_again_and_counted_once(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    await server.phone.config(ack_up_to=0)
    sent = await tab.send(CHAT, "did you get it?", wait=False)
    await server.phone.wait_for_messages(ME, 1)

    await server.phone.drop(ME)
    await server.phone.until(lambda: server.phone.repeats(ME), "the repeat", 10)
    await server.phone.config(ack_up_to=3)
    await server.phone.release()

    await tab.until(f"(key) => ({ACK})(key) === 3", sent["id"])
    assert [message.body for message in await server.phone.sent(ME)] == ["did you get it?"]
    assert await server.phone.repeats_by_id(ME) == {bare(sent["id"]): 1}
    assert tab.complaints == []


async def test_a_message_that_vanished_on_its_way_is_sent_again_by_the_page(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    await server.phone.lose(ME)
    sent = await tab.send(CHAT, "lost", wait=False)
    assert sent["ack"] == 0

    await server.phone.drop(ME)

    await server.phone.wait_for_ack(ME, bare(sent["id"]), 3)
    assert await server.phone.repeats(ME) == 0


async def test_an_unsent_message_survives_a_killed_browser_and_goes_out_by_itself(
    server: Simulator, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    async with chromium(server, profile) as browser:
        tab = await browser.tab()
        await link(server, tab)
        await tab.run("(chat) => WPP.chat.find(chat).then(() => true)", CHAT)
        await server.phone.config(refuse_sockets=True)
        await server.phone.drop(ME)
        await tab.until("() => ['TIMEOUT', 'OPENING'].includes(WPP.whatsapp.Socket.state)")
        sent = await tab.send(CHAT, "written offline", wait=False)
        await browser.kill()
    assert await server.phone.sent(ME) == []
    await server.phone.config(refuse_sockets=False)

    async with chromium(server, profile) as browser:
        tab = await browser.tab()
        await server.phone.wait_for_ack(ME, bare(sent["id"]), 3)
        await tab.ready()
        await tab.until(f"(key) => ({ACK})(key) === 3", sent["id"])

    assert [message.body for message in await server.phone.sent(ME)] == ["written offline"]


async def test_a_killed_simulator_still_knows_its_devices_and_messages(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    await server.phone.config(ack_up_to=1)
    before = await tab.send(CHAT, "before")

    await server.kill()
    await tab.until(f"() => ({SOCKET})('TIMEOUT')")
    unsent = await tab.send(CHAT, "meanwhile", wait=False)
    await server.start()

    await server.phone.wait_until_ready(ME)
    await server.phone.wait_for_ack(ME, bare(unsent["id"]), 3)
    # Its receipts were still due when it was killed; they come all the same.
    await server.phone.wait_for_ack(ME, bare(before["id"]), 3)
    await tab.until(f"(key) => ({ACK})(key) === 3", before["id"])
    assert [message.body for message in await server.phone.sent(ME)] == ["before", "meanwhile"]
    assert await server.phone.repeats(ME) == 0
    assert await tab.run("() => WPP.whatsapp.Stream.mode") == "MAIN"


async def test_receipts_in_the_wrong_order_never_take_an_ack_back(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    await server.phone.config(ack_reorder=True)
    await tab.run(
        "() => { window.acks = [];"
        " WPP.whatsapp.MsgStore.on('change:ack', (message, ack) => acks.push(ack)); }"
    )

    sent = await tab.send(CHAT, "backwards")

    assert sent["ack"] == 3
    assert await tab.run("() => acks") == [3]
    assert (await server.phone.sent(ME))[0].ack == 3


async def test_what_came_while_away_is_delivered_in_order_and_counted(
    server: Simulator, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    async with chromium(server, profile) as browser:
        await link(server, await browser.tab())
    for n in range(20):
        await server.phone.incoming(ME, ALICE, str(n))

    async with chromium(server, profile) as browser:
        tab = await browser.tab()
        await tab.ready()
        bodies = await tab.run(
            "(chat) => WPP.chat.get(chat).msgs.map((message) => message.body)", CHAT
        )
        assert bodies == [str(n) for n in range(20)]
        handler = "require('WAWebOfflineHandler').OfflineMessageHandler"
        assert await tab.run(f"() => {handler}.getOfflineDeliveryProgress()") == 100

    assert {message.ack for message in await server.phone.messages(ME)} == {2}


async def test_the_older_of_two_pages_of_one_device_is_told_conflict_and_can_take_over(
    server: Simulator, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    async with chromium(server, profile) as browser:
        older = await browser.tab()
        await link(server, older)
        newer = await browser.second_tab()

        await older.until(SOCKET, "CONFLICT")
        await newer.ready()
        assert await older.run("() => WPP.conn.getStreamData().mode") == "CONFLICT"

        await older.run("() => WPP.whatsapp.Socket.takeover()")
        await newer.until(SOCKET, "CONFLICT")
        await older.until(SOCKET, "CONNECTED")


@pytest.mark.parametrize("state", ["TOS_BLOCK", "SMB_TOS_BLOCK"])
async def test_a_blocked_account_is_told_at_once_and_at_the_next_login(
    server: Simulator, tab: Tab, state: str
) -> None:
    await link(server, tab)

    await server.phone.block(ME, state)
    await tab.until(SOCKET, state)
    await tab.load()
    await tab.until(SOCKET, state)
    assert await tab.run("() => WPP.conn.getStreamData().mode") == state

    await server.phone.block(ME, "")
    await tab.load()
    await tab.ready()


async def test_a_version_that_is_too_old_is_refused_until_a_reload_brings_a_newer_one(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)

    await server.phone.config(min_version="2.3000.2000000000")
    await server.phone.drop(ME)
    await tab.until(SOCKET, "DEPRECATED_VERSION")
    await server.phone.config(version="2.3000.2000000000")
    await tab.load()
    await tab.ready()

    await server.phone.update(ME)
    await tab.until("() => WPP.conn.needsUpdate()")
    assert await tab.events("conn.needs_update") == [None]


async def test_an_unreachable_whatsapp_answers_neither_page_nor_socket(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)

    await server.phone.config(unreachable=True)
    await server.phone.drop(ME)
    await tab.until(SOCKET, "TIMEOUT")
    await tab.load()
    assert "unreachable" in await tab.run("() => document.body.textContent")

    await server.phone.config(unreachable=False)
    await tab.load()
    await tab.ready()


@pytest.mark.parametrize("where", ["boot", "sync"])
async def test_a_page_can_be_stuck_for_ever(server: Simulator, tab: Tab, where: str) -> None:
    await link(server, tab)

    await server.phone.config(number=ME, stuck=where)
    await tab.load()
    await tab.until("() => window.WPP && WPP.isInjected")

    if where == "sync":
        await tab.until(SOCKET, "CONNECTED")
    assert (
        await tab.run("() => WPP.whatsapp.Stream.mode || null")
        == {"boot": None, "sync": "SYNCING"}[where]
    )
    with pytest.raises(TimeoutError):
        await server.phone.wait_until_ready(ME, timeout=0.5)


async def test_late_modules_and_long_gaps_do_not_kill_a_library_that_waits(tmp_path: Path) -> None:
    late = QUICK | {
        "gap_ms": 900,
        "late_modules": ["WAWebSocketModel", "WAWebMsgCollection"],
        "late_ms": 500,
    }
    async with (
        simulator(tmp_path / "simulator", **late) as server,
        chromium(server, tmp_path / "profile") as browser,
    ):
        tab = await browser.tab()
        await link(server, tab)
        assert (await tab.send(CHAT, "slow"))["ack"] == 1


@pytest.mark.parametrize(("gap_ms", "lives"), [(100, True), (1200, False)])
async def test_a_library_that_does_not_wait_stays_dead_on_a_slow_page(
    tmp_path: Path, gap_ms: int, lives: bool
) -> None:
    """The real page's trap: wa-js takes a long quiet gap for the end of the modules."""
    slow = QUICK | {"gap_ms": gap_ms}
    async with (
        simulator(tmp_path / "simulator", **slow) as server,
        chromium(server, tmp_path / "profile") as browser,
    ):
        tab = await browser.tab(held_back=False)
        await server.phone.wait_for_qr()
        await tab.until("() => WPP.isInjected && window.Debug")

        ready = "() => WPP.isReady && WPP.conn.isMainReady()"
        if lives:
            await tab.until(ready)
        else:
            with pytest.raises(TimeoutError):
                await tab.until(ready, timeout=2)


async def test_a_page_that_hangs_answers_nothing_until_it_is_let_go(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)

    async def silent() -> bool:
        try:
            await tab.run("() => 1", timeout=0.5)
        except TimeoutError:
            return True
        return False

    await server.phone.hang(ME, ms=2000)

    await server.phone.until(silent, "the page to hang", 5)
    assert await tab.run("() => 2") == 2


async def test_each_device_may_misbehave_on_its_own(server: Simulator, tmp_path: Path) -> None:
    async with (
        chromium(server, tmp_path / "one") as first,
        chromium(server, tmp_path / "two") as second,
    ):
        one = await first.tab()
        await link(server, one)
        two = await second.tab()
        await server.phone.scan(await two.qr(), number="15550002222")
        await two.ready()

        await server.phone.config(number=ME, ack_up_to=1)
        sent = [await one.send(CHAT, "held"), await two.send(CHAT, "free")]

        await server.phone.wait_for_ack("15550002222", bare(sent[1]["id"]), 3)
        await asyncio.sleep(0.1)
        assert [message.ack for message in await server.phone.sent(ME)] == [1]
