"""Unmodified wa-js takes the simulator for WhatsApp Web."""

from pathlib import Path

import pytest

from tests.simulator.browser import Tab, chromium
from tests.simulator.phone import PhoneError
from tests.simulator.process import Simulator, simulator

pytestmark = pytest.mark.browser

ME, ALICE, BOB = "15550001111", "15557654321", "15558887777"
CHAT = f"{ALICE}@c.us"

BODIES = """(chat, options) => WPP.chat.getMessages(chat, options)
    .then((found) => found.map((message) => message.body))"""


async def link(server: Simulator, tab: Tab, number: str = ME) -> None:
    """Scan the tab's QR code and wait until it can send."""
    await server.phone.scan(await tab.qr(), number=number, pushname="Me")
    await tab.ready()


def bare(key: object) -> str:
    """The id within a full message key."""
    return str(key).split("_")[2]


async def test_a_session_lives_from_qr_to_unlinking(tmp_path: Path) -> None:
    """The whole way at the page's ordinary pace: linked, sent, received, restarted, unlinked."""
    async with simulator(tmp_path / "simulator") as server:
        phone, profile = server.phone, tmp_path / "profile"

        async with chromium(server, profile) as browser:
            tab = await browser.tab()
            code = await tab.qr()
            assert len(code.split(",")) == 4
            assert not await tab.run("() => WPP.conn.isAuthenticated()")
            await phone.scan(code, number=ME, pushname="Me")
            await tab.ready()
            assert await tab.run("() => String(WPP.conn.getMyUserId())") == f"{ME}@c.us"
            assert await tab.run("() => WPP.conn.getStreamData()") == {
                "mode": "MAIN",
                "info": "NORMAL",
            }
            assert (
                await tab.run("() => [WPP.isReady, WPP.isFullReady, WPP.conn.isMainReady()]")
                == [True] * 3
            )
            assert [
                name
                for name in ("conn.authenticated", "conn.main_ready")
                if not await tab.events(name)
            ] == []

            sent = await tab.send(CHAT, "hello")
            assert sent["sendMsgResult"]["messageSendResult"] == "OK"
            await phone.wait_for_ack(ME, bare(sent["id"]), 3)
            await tab.until("(id) => WPP.whatsapp.MsgStore.get(id).ack === 3", sent["id"])
            acks = [
                event["ack"]
                for event in await tab.events("chat.msg_ack_change")
                if sent["id"] in event["ids"]
            ]
            assert acks == [1, 2, 3]

            received = await phone.incoming(ME, ALICE, "hi there")
            await tab.until("(id) => !!WPP.whatsapp.MsgStore.get(id)", f"false_{CHAT}_{received}")
            assert [event["body"] for event in await tab.events("chat.new_message")] == [
                "hello",
                "hi there",
            ]
            assert tab.complaints == []

        await phone.incoming(ME, ALICE, "while away")

        async with chromium(server, profile) as browser:
            tab = await browser.tab()
            await tab.ready()
            assert await tab.events("conn.authenticated") == []
            assert await tab.run(BODIES, CHAT, {"count": -1}) == ["hello", "hi there", "while away"]

            await phone.unlink(ME)

            assert await tab.qr() != code
            assert "post_logout=1" in tab.url
            assert not await tab.run("() => WPP.conn.isRegistered()")
            assert tab.complaints == []


async def test_a_client_can_log_out(server: Simulator, tab: Tab) -> None:
    await link(server, tab)

    # All in one call: the page leaves soon after it said so, and with it what was heard.
    heard = await tab.run("""() => WPP.conn.logout()
        .then(() => __events.filter(([name]) => name.startsWith('conn.logout')))""")

    assert heard == [["conn.logout_reason", "user_initiated"], ["conn.logout", None]]
    await tab.qr()
    assert await server.phone.devices(ME) == []
    assert tab.complaints == []


async def test_an_unscanned_code_is_replaced_until_none_is_left(
    server: Simulator, tab: Tab
) -> None:
    first = await tab.qr()
    await server.phone.config(qr_ttl=0.3, qr_max=3)

    await tab.run("() => WPP.conn.refreshQR()")
    await tab.until("() => WPP.whatsapp.Socket.state === 'UNPAIRED_IDLE'")

    assert await tab.events("conn.qrcode_idle") == [None]
    shown = {event["ref"] for event in await tab.events("conn.auth_code_change") if event}
    assert len(shown - {first.split(",")[0]}) == 3
    with pytest.raises(PhoneError, match="no page shows this QR code"):
        await server.phone.scan(first, number=ME)

    await server.phone.config(qr_ttl=20.0)
    fresh = await tab.run("() => WPP.conn.refreshQR()")
    await server.phone.scan(fresh["fullCode"], number=ME)
    await tab.ready()
    assert tab.complaints == []


async def test_a_device_is_linked_by_a_code_typed_on_the_phone(server: Simulator, tab: Tab) -> None:
    await tab.qr()

    code = await tab.run("(number) => WPP.conn.genLinkDeviceCodeForPhoneNumber(number)", ME)

    with pytest.raises(PhoneError, match="for that number"):
        await server.phone.enter(code, number=BOB)
    await server.phone.enter(f"{code[:4]}-{code[4:].lower()}", number=ME)
    await tab.ready()
    assert tab.complaints == []


async def test_a_message_goes_out_under_the_id_that_was_chosen_for_it(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    send = """(chat, key) => WPP.chat
        .sendTextMessage(chat, 'mine', {createChat: true, messageId: key, waitForAck: true})
        .then((sent) => sent.id, (error) => error.code)"""

    sent = await tab.run(send, CHAT, f"true_{CHAT}_3EB0CHOSEN")
    elsewhere = await tab.run(send, CHAT, f"true_{BOB}@c.us_3EB0OTHER")

    assert sent == f"true_{CHAT}_3EB0CHOSEN"
    assert elsewhere == "message_key_remote_id_is_not_same_of_chat"
    assert [message.id for message in await server.phone.sent(ME)] == ["3EB0CHOSEN"]
    assert (
        await tab.run("(key) => WPP.chat.getMessageById(key).then((m) => m.body)", sent) == "mine"
    )
    missing = "(key) => WPP.chat.getMessageById(key).catch((error) => error.code)"
    assert await tab.run(missing, f"true_{CHAT}_3EB0NEVER") == "msg_not_found"


async def test_a_chat_can_be_looked_through_in_both_directions(server: Simulator, tab: Tab) -> None:
    await link(server, tab)
    keys = [f"false_{CHAT}_{await server.phone.incoming(ME, ALICE, str(n))}" for n in range(6)]
    await tab.until("(key) => !!WPP.whatsapp.MsgStore.get(key)", keys[-1])

    assert await tab.run(BODIES, CHAT, {"count": -1}) == ["0", "1", "2", "3", "4", "5"]
    assert await tab.run(BODIES, CHAT, {"count": 2}) == ["4", "5"]
    assert await tab.run(BODIES, CHAT, {"count": 2, "id": keys[3]}) == ["1", "2"]
    assert await tab.run(BODIES, CHAT, {"count": 2, "id": keys[3], "direction": "after"}) == [
        "4",
        "5",
    ]
    assert await tab.run(BODIES, CHAT, {"count": 5, "id": keys[5], "direction": "after"}) == []
    chats = """() => WPP.chat.list()
        .then((all) => all.map((chat) => [String(chat.id), chat.unreadCount]))"""
    assert await tab.run(chats) == [[CHAT, 6]]
    assert tab.complaints == []


async def test_reading_and_typing_reach_the_server(server: Simulator, tab: Tab) -> None:
    await link(server, tab)
    received = await server.phone.incoming(ME, ALICE, "read me")
    await server.phone.wait_for_ack(ME, received, 2)

    await tab.run("(chat) => WPP.chat.markIsRead(chat)", CHAT)
    await tab.run("(chat) => WPP.chat.markIsComposing(chat)", CHAT)

    await server.phone.wait_for_ack(ME, received, 3)
    await server.phone.until(lambda: _presence(server, "composing"), "typing", 5)
    await tab.run("(chat) => WPP.chat.markIsPaused(chat)", CHAT)
    await server.phone.until(lambda: _presence(server, "paused"), "no typing", 5)
    assert await tab.run("(chat) => WPP.chat.get(chat).unreadCount", CHAT) == 0


async def _presence(server: Simulator, state: str) -> bool:
    return (await server.phone.devices(ME))[0].presence.get(CHAT) == state


async def test_a_chat_asked_for_by_number_may_live_under_a_lid(server: Simulator, tab: Tab) -> None:
    alice = await server.phone.contact(ALICE, lid_chat=True)
    await link(server, tab)

    found = await tab.run("(chat) => WPP.chat.find(chat).then((found) => String(found.id))", CHAT)
    sent = await tab.send(CHAT, "to a lid")
    received = await server.phone.incoming(ME, ALICE, "from a lid")

    assert found == alice.lid
    assert sent["to"] == alice.lid
    await tab.until("(key) => !!WPP.whatsapp.MsgStore.get(key)", f"false_{alice.lid}_{received}")
    assert [m.chat for m in await server.phone.messages(ME)] == [alice.lid, alice.lid]
    await tab.until("(key) => WPP.whatsapp.MsgStore.get(key).ack === 3", sent["id"])
    assert await tab.run("() => WPP.chat.list().then((chats) => chats.length)") == 1
    assert tab.complaints == []


async def test_a_number_that_is_not_on_whatsapp_is_told_apart(server: Simulator, tab: Tab) -> None:
    await server.phone.contact(BOB, registered=False)
    await link(server, tab)
    exists = (
        "(number) => WPP.contact.queryExists(number).then((found) => found && String(found.wid))"
    )

    assert await tab.run(exists, CHAT) == CHAT
    assert await tab.run(exists, f"{BOB}@c.us") is None
    send = """(chat) => WPP.chat.sendTextMessage(chat, 'x', {createChat: true})
        .catch((error) => error.message)"""
    assert await tab.run(send, f"{BOB}@c.us") == "No LID for user"


async def test_a_group_is_written_to_and_heard_from_with_participants(
    server: Simulator, tab: Tab
) -> None:
    group = await server.phone.group("Friends", [ME, ALICE])
    await link(server, tab)

    sent = await tab.send(group, "hello all")
    received = await server.phone.incoming(ME, ALICE, "hello you", group=group)

    assert sent["id"] == f"true_{group}_{bare(sent['id'])}_9{ME}@lid"
    await tab.until(
        "(key) => !!WPP.whatsapp.MsgStore.get(key)", f"false_{group}_{received}_9{ALICE}@lid"
    )
    await tab.until("(key) => WPP.whatsapp.MsgStore.get(key).ack === 3", sent["id"])
    assert [m.get("author") for m in await tab.events("chat.new_message")] == [
        None,
        f"9{ALICE}@lid",
    ]
    participants = """(group) => WPP.group.getParticipants(group)
        .then((all) => all.map((one) => String(one.id)).sort())"""
    assert await tab.run(participants, group) == [f"9{ME}@lid", f"9{ALICE}@lid"]
    assert tab.complaints == []


async def test_a_module_of_a_lazy_bundle_is_fetched_when_it_is_needed(
    server: Simulator, tab: Tab
) -> None:
    await link(server, tab)
    sent = await tab.send(CHAT, "pass it on")

    assert not await tab.run("() => 'WAWebChatForwardMessage' in require('__debug').modulesMap")
    await tab.run(
        "(to, id) => WPP.chat.forwardMessage(to, id).then(() => true)", f"{BOB}@c.us", sent["id"]
    )

    assert [m.body for m in await server.phone.messages(ME, chat=f"{BOB}@c.us")] == ["pass it on"]


async def test_a_thousand_modules_and_the_policy_of_the_real_page_are_there(tmp_path: Path) -> None:
    async with (
        simulator(tmp_path / "simulator") as server,
        chromium(server, tmp_path / "profile") as browser,
    ):
        tab = await browser.tab()
        await tab.qr()

        assert await tab.run("() => Object.keys(require('__debug').modulesMap).length") > 1000
        refused = "() => { try { return eval('1'); } catch (error) { return error.name; } }"
        assert (
            await tab.run(f"() => new Promise((ok) => setTimeout(() => ok(({refused})()), 0))")
            == "EvalError"
        )
