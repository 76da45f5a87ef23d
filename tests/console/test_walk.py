"""A person walks through the console: real Chromium, real NATS and Redis, fake phones."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from events.subjects import SessionId
from tests.console.conftest import Stage
from tests.console.person import Person
from tests.gateway.conftest import KEY
from tests.gateway.webhooks.receiver import Receiver, fails, takes
from tests.gateway.whole import Whole

# One browser for all of them: it takes longer to start than most of them take.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ANN = SessionId("ann", "shop")
NUMBER, FRIEND = "15550001111", "15557654321"
CHAT = f"{FRIEND}@c.us"

HOSTILE = {
    "markup": "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>",
    "entities": "&lt;i&gt; &amp; \"quotes\" 'single' `ticks` ${alert(3)}",
    "right to left": "invoice \u202egnp.exe\u202c \u2066hid\u2069 \u0645\u0631\u062d",
    "endless": "W" * 10_000,
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 40,
    "stacked": "Z" + "\u0338\u0321\u034f" * 200,
}


@pytest.fixture
def at(person: Person) -> Any:
    """Log in at a service; further words say how the window is."""

    async def seated(service: Whole, place: str = "", key: str = KEY, **window: Any) -> None:
        await person.sit(f"{service.gateway.url}/{place}", **window)
        await person.log_in(key)

    return seated


async def test_a_session_is_created_linked_and_ready_without_a_reload(
    stage: Stage, person: Person
) -> None:
    async with stage() as service:
        await person.sit(f"{service.gateway.url}/")
        await person.fill("API key", "not-the-key")
        await person.click("button", "Log in")
        await person.sees("This key is not known")
        assert await person.violations() == []
        await person.log_in(KEY)
        await person.sees("No sessions yet")
        assert await person.violations() == []

        await person.click("button", "Create a session")
        await person.fill("User", "ann")
        await person.fill("Bot", "shop")
        assert await person.violations() == []
        await person.click("button", "Create and link")
        await person.finds("img", "The code to scan")
        await person.sees("A new one in")
        assert await person.violations() == []
        service.launcher.of(str(ANN)).scan(NUMBER)
        await person.sees(f"The session is ready as +{NUMBER}")
        await person.click("link", "Open the session")

        await person.finds("heading", "ann-shop")
        await person.sees("The page itself answers")
        await person.sees("failures until it opens")
        assert await person.violations() == []


async def test_messages_go_out_and_come_in_with_their_receipts(
    stage: Stage, person: Person, at: Any
) -> None:
    async with stage() as service:
        await service.link(ANN, NUMBER)
        whatsapp = service.launcher.whatsapp
        whatsapp.deliver(NUMBER, CHAT, "Do you have it in blue?", push_name="Ada")
        await at(service, "#/chats/ann-shop")
        await person.click("link", "+15557654321", exact=False)
        await person.sees("Do you have it in blue?")

        await person.fill("Message", "Yes, two of them")
        await person.press("Enter")
        await person.sees("Sent", exact=True)
        [ours] = [m for m in whatsapp.account(NUMBER).chat(CHAT).messages.values() if m.from_me]
        whatsapp.ack(NUMBER, ours.wa_id, 2)
        await person.sees("Delivered", exact=True)
        whatsapp.ack(NUMBER, ours.wa_id, 3)
        await person.sees("Read", exact=True)
        whatsapp.deliver(NUMBER, CHAT, "I take one", push_name="Ada")
        await person.sees("I take one")
        await person.click("button", "Reply")
        await person.sees("Reply to")
        await person.fill("Message", "It is yours")
        await person.press("Enter")
        await person.attach("The file to send", "invoice.txt", "text/plain", b"two, blue")
        await person.sees("invoice.txt")
        await person.fill("Message", "The invoice")
        await person.click("button", "Send")
        await person.finds("button", "Save")
        assert await person.violations() == []

        assert ours.body == "Yes, two of them"
        kinds = {m.body: m for m in whatsapp.account(NUMBER).chat(CHAT).messages.values()}
        assert kinds["It is yours"].quoted is not None
        assert kinds["The invoice"].media is not None


@pytest.mark.long
async def test_a_browser_that_dies_shows_its_next_attempt_and_its_recovery(
    stage: Stage, person: Person, at: Any
) -> None:
    async with stage(backoff_first=3, backoff_jitter=0) as service:
        await service.link(ANN, NUMBER)
        await at(service, "#/sessions/ann-shop")
        await person.sees("The page itself answers")

        service.launcher.of(str(ANN)).die()

        await person.sees("Reconnecting")
        await person.sees("Attempt 1 in")
        assert await person.violations() == []
        await person.sees("The page itself answers")


async def test_an_open_breaker_is_shown_and_closed_by_hand(
    stage: Stage, person: Person, at: Any
) -> None:
    quick = {"backoff_first": 0.05, "backoff_attempts": 1, "node_breaker_failures": 50}
    async with stage(**quick) as service:
        await service.link(ANN, NUMBER)
        await at(service, "#/sessions/ann-shop")
        service.launcher.fail_always()
        service.launcher.of(str(ANN)).die()
        await person.sees("Suspended")
        await person.sees("One probe in")
        assert await person.violations() == []

        service.launcher.mend()
        await person.click("button", "Reset the breaker")

        await person.sees("The page itself answers")
        await person.do("gone", text="probe in")


async def test_live_updates_that_are_cut_say_so_and_come_back_by_themselves(
    stage: Stage, person: Person, at: Any
) -> None:
    async with stage() as service:
        await service.link(ANN, NUMBER)
        await at(service, "#/events")
        await person.sees("state-change")
        service.launcher.whatsapp.deliver(NUMBER, CHAT, "before the cut")
        await person.sees("before the cut")

        await person.do("offline", on=True)
        await person.sees("Live updates are cut since")
        assert await person.violations() == []
        service.launcher.whatsapp.deliver(NUMBER, CHAT, "during the cut")
        await _until_received(service, 2)
        await person.do("offline", on=False)

        await person.sees("Live again")
        await person.sees("during the cut")
        shown = await person.do("count", selector=".stream .badge >> text=message-received")
        assert shown == 2


@pytest.mark.long
async def test_a_dead_letter_is_delivered_again(
    stage: Stage, person: Person, at: Any, receiver: Receiver
) -> None:
    receiver.answers = fails
    quick = {"webhook_retry_hours": 1e-6, "webhook_backoff_first": 0.05}
    async with stage(webhook_allow_private="127.0.0.1", **quick) as service:
        await service.link(ANN, NUMBER)
        await at(service, "#/webhooks")
        await person.click("button", "New webhook", within={"role": "main"})
        await person.fill("Name", "crm")
        await person.fill("URL", receiver.url)
        await person.click("button", "Save")
        await person.sees("It signs what is posted")
        await person.click("button", "Close")
        await person.click("link", "crm")
        service.launcher.whatsapp.deliver(NUMBER, CHAT, "an order")
        await person.sees("Dead letters (1)")
        await person.sees("Given up")
        assert await person.violations() == []

        receiver.answers = takes
        await person.click("button", "Deliver all again")

        await person.sees("1 letter delivered")
        await person.sees("No dead letters")
        assert [got.text for got in receiver.taken] == ["an order"]


@pytest.mark.long
async def test_a_key_is_made_shown_once_and_revoked_and_its_user_sees_no_other(
    stage: Stage, person: Person, at: Any
) -> None:
    async with stage() as service:
        await service.link(ANN, NUMBER)
        await service.link(SessionId("bob", "desk"), "15550002222")
        await at(service, "#/keys")
        await person.click("button", "New key", within={"role": "main"})
        await person.fill("Name", "Bob's desk")
        await person.fill("User", "bob")
        assert await person.violations() == []
        await person.click("button", "Make the key")
        await person.sees("It is shown this once")
        secret = await person.do("read", selector="dialog code")
        await person.click("button", "Close")
        await person.sees("User bob")
        assert await person.violations() == []

        await at(service, "#/sessions", key=secret)

        await person.sees("1 session")
        await person.sees("bob-desk")
        page = await person.do("value", code="() => document.body.innerText")
        assert "ann-shop" not in page
        assert "Keys" not in page
        [held] = (await service.gateway.http.get("/api/keys")).json()["keys"]
        await service.gateway.http.delete(f"/api/keys/{held['id']}")
        await person.sees("You were logged out")


async def test_the_whole_way_is_open_to_the_keyboard_alone(stage: Stage, person: Person) -> None:
    async with stage() as service:
        await _type_in(person, service)
        await person.tab_to("Sessions")
        await person.press("Enter")
        await person.sees("A session links one phone")
        await person.tab_to("New session")
        await person.press("Enter")
        await person.type("ann")
        await person.press("Tab")
        await person.type("shop")
        await person.press("Enter")
        await person.finds("img", "The code to scan")
        await person.press("ArrowRight", "Tab")
        await person.type(NUMBER)
        await person.press("Enter")
        await person.sees("WZYX-1234")
        service.launcher.of(str(ANN)).scan(NUMBER)
        await person.sees("The session is ready as")
        assert await person.is_somewhere()
        await person.tab_to("Open the session")
        await person.press("Enter")
        await person.sees("The page itself answers")

        await person.tab_to("Stop")
        await person.press("Enter")
        await person.sees("What is lost")
        await person.tab_to("Stop")
        await person.press("Enter")
        await person.sees("Somebody stopped it")
        await person.tab_to("Delete")
        await person.press("Enter")
        await person.sees("Its history of messages")
        await person.press("Escape")
        await person.tab_to("Start")
        await person.press("Enter")

        await person.sees("The page itself answers")


async def test_a_chat_is_opened_marked_and_answered_by_the_keyboard_alone(
    stage: Stage, person: Person
) -> None:
    async with stage() as service:
        await service.link(ANN, NUMBER)
        whatsapp = service.launcher.whatsapp
        asked = whatsapp.deliver(NUMBER, CHAT, "Do you have it in blue?", push_name="Ada")
        account = whatsapp.account(NUMBER)
        await _type_in(person, service, "#/chats/ann-shop")
        await person.sees("+15557654321")
        await person.tab_to("+15557654321", exact=False)
        await person.press("Enter")
        await person.finds("button", "Mark as read")
        assert account.chat(CHAT).unread == 1, "to look is not to read"

        await person.tab_to("Mark as read")
        await person.press("Enter")
        await person.sees("Marked as read at the phone")
        assert account.chat(CHAT).unread == 0
        assert await person.is_somewhere()
        await person.tab_to("React")
        await person.press("Enter")
        await person.finds("button", "React \U0001f44d")
        await person.tab_to("React \U0001f44d")
        await person.press("Enter")
        await person.sees("You reacted with \U0001f44d")
        await person.tab_to("Message")
        await person.type("Yes, two of them")
        await person.press("Enter")
        await person.sees("Sent", exact=True)

        assert await person.violations() == []
        assert account.reactions == {asked.wa_id: "\U0001f44d"}


@pytest.mark.long
async def test_webhooks_and_keys_are_kept_by_the_keyboard_alone(
    stage: Stage, person: Person, receiver: Receiver
) -> None:
    receiver.answers = fails
    quick = {"webhook_retry_hours": 1e-6, "webhook_backoff_first": 0.05}
    async with stage(webhook_allow_private="127.0.0.1", **quick) as service:
        await service.link(ANN, NUMBER)
        await service.link(SessionId("bob", "desk"), "15550002222")
        await _type_in(person, service, "#/webhooks")
        await person.sees("New webhook")
        await person.tab_to("New webhook")
        await person.press("Enter")
        await person.type("crm")
        await person.press("Tab")
        await person.type(receiver.url)
        await person.press("Enter")
        await person.sees("It signs what is posted")
        await person.press("Enter")
        await person.finds("link", "crm")
        await person.tab_to("crm")
        await person.press("Enter")
        service.launcher.whatsapp.deliver(NUMBER, CHAT, "an order")
        await person.sees("Dead letters (1)")
        receiver.answers = takes
        await person.tab_to("Deliver all again")
        await person.press("Enter")
        await person.sees("No dead letters")
        assert await person.is_somewhere()

        await person.tab_to("Keys")
        await person.press("Enter")
        await person.finds("heading", "Keys")
        await person.tab_to("New key")
        await person.press("Enter")
        await person.type("Bob's desk")
        await person.press("Tab")
        await person.type("bob")
        await person.press("Enter")
        await person.sees("It is shown this once")
        secret = await person.do("read", selector="dialog code")
        await person.press("Enter")
        await person.tab_to("Revoke Bob's desk")
        await _type_in(person, service, "#/sessions", secret)
        await person.sees("bob-desk")
        assert await person.do("count", selector="main >> text=ann-shop") == 0

        await _type_in(person, service, "#/keys")
        await person.sees("Bob's desk")
        await person.tab_to("Revoke Bob's desk")
        await person.press("Enter")
        await person.tab_to("Revoke")
        await person.press("Enter")
        await person.do("gone", text="User bob")

        assert await person.is_somewhere()


@pytest.mark.long
async def test_a_dead_browser_and_an_open_breaker_leave_the_keyboard_its_place(
    stage: Stage, person: Person
) -> None:
    quick = {"backoff_first": 0.05, "backoff_attempts": 1, "node_breaker_failures": 50}
    async with stage(**quick) as service:
        await service.link(ANN, NUMBER)
        await _type_in(person, service, "#/sessions/ann-shop")
        await person.sees("The page itself answers")
        await person.tab_to("Stop")
        service.launcher.fail_always()
        service.launcher.of(str(ANN)).die()
        await person.sees("Suspended")
        assert await person.is_somewhere()
        service.launcher.mend()

        await person.tab_to("Reset the breaker")
        await person.press("Enter")
        await person.sees("The page itself answers")

        assert await person.is_somewhere()


@pytest.mark.parametrize(
    "width", [pytest.param(1280, marks=pytest.mark.long), 360], ids=["desk", "telephone"]
)
async def test_hostile_names_and_messages_are_text_and_break_nothing(
    stage: Stage, person: Person, at: Any, width: int
) -> None:
    async with stage() as service:
        await service.link(ANN, NUMBER)
        whatsapp = service.launcher.whatsapp
        for name in HOSTILE.values():
            whatsapp.deliver(NUMBER, CHAT, name, push_name=name[:300])
        await _until_received(service, len(HOSTILE))
        await at(service, f"#/chats/ann-shop/{CHAT}", width=width, height=740)

        for word in ("<img src=x onerror=alert(1)>", "&lt;i&gt;", "WWWWWWWW"):
            await person.sees(word)
        assert await person.too_wide() == []
        assert await person.violations() == []
        await person.do("go", url=f"{service.gateway.url}/#/events")
        whatsapp.deliver(NUMBER, CHAT, HOSTILE["markup"])
        await person.sees("<script>alert(2)</script>")
        assert await person.too_wide() == []
        elements = await person.do("count", selector="main script, main b, main img[src=x]")
        assert elements == 0


async def _type_in(person: Person, service: Whole, place: str = "", key: str = KEY) -> None:
    """Log in without a mouse."""
    await person.sit(f"{service.gateway.url}/{place}")
    await person.type(key)
    await person.press("Enter")
    await person.finds("navigation", "Sections")


async def _until_received(service: Whole, count: int) -> None:
    http: httpx.AsyncClient = service.gateway.http
    for _ in range(500):
        data = (await http.get("/api/sessions/ann-shop")).json()["data"]
        if data["metrics"]["messagesReceived"] >= count:
            return
    raise AssertionError(f"{count} messages never came")
