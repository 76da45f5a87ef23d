"""The server's rules, told by frames: no browser needed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.simulator.fake_page import FakePage, fake_page
from tests.simulator.phone import PhoneError
from tests.simulator.process import Simulator

ME, ALICE, BOB = "15550001111", "15557654321", "15558887777"
CHAT = f"{ALICE}@c.us"


@asynccontextmanager
async def linked(
    server: Simulator, device: str, number: str = ME
) -> AsyncIterator[tuple[FakePage, object]]:
    """A page that has been scanned and has caught up, with its credentials."""
    async with fake_page(server.url, device) as page:
        await page.hello()
        ref = await page.hear("ref")
        await server.phone.scan(f"{ref['ref']},a,b,c", number=number)
        creds = (await page.hear("pair-success"))["creds"]
        await page.caught_up()
        yield page, creds


async def test_a_repeated_message_is_taken_once_and_counted(server: Simulator) -> None:
    async with linked(server, "one") as (page, _):
        first = await page.hear(re=await page.send("A", CHAT))
        second = await page.hear(re=await page.send("A", CHAT))

    assert first["ts"] == second["ts"]
    assert [(m.id, m.repeats) for m in await server.phone.sent(ME)] == [("A", 1)]
    assert await server.phone.repeats(ME) == 1


async def test_one_id_is_another_message_for_another_account(server: Simulator) -> None:
    async with linked(server, "one") as (mine, _), linked(server, "two", BOB) as (theirs, _):
        await mine.hear(re=await mine.send("A", CHAT))
        await theirs.hear(re=await theirs.send("A", CHAT))

    assert await server.phone.repeats(ME) + await server.phone.repeats(BOB) == 0


async def test_messages_wait_for_a_device_until_it_has_kept_them(server: Simulator) -> None:
    async with linked(server, "one") as (_, creds):
        pass
    for body in "abc":
        await server.phone.incoming(ME, ALICE, body)

    async with fake_page(server.url, "one") as page:
        await page.hello(creds)
        first, *_ = await page.caught_up()
        await page.keep(first)
        await server.phone.wait_for_ack(ME, str(first["id"]), 2)

    async with fake_page(server.url, "one") as page:
        await page.hello(creds)
        assert [frame["body"] for frame in await page.caught_up()] == ["b", "c"]
    assert [message.body for message in await server.phone.messages(ME, direction="in")] == [
        "a",
        "b",
        "c",
    ]


async def test_every_linked_device_gets_every_message_and_what_the_others_send(
    server: Simulator,
) -> None:
    async with linked(server, "one") as (one, _), linked(server, "two") as (two, _):
        await server.phone.incoming(ME, ALICE, "hi")
        assert [(await page.hear("msg"))["body"] for page in (one, two)] == ["hi", "hi"]

        await one.send("A", CHAT, "from one")
        copy = await two.hear("msg")

    assert (copy["body"], copy["from_me"], copy["chat"]) == ("from one", True, CHAT)
    assert len(await server.phone.devices(ME)) == 2


async def test_a_newly_linked_device_is_given_the_newest_messages_as_history(
    server: Simulator,
) -> None:
    await server.phone.config(history=2)
    async with linked(server, "one") as (page, _):
        await page.hear(re=await page.send("A", CHAT, "old"))
    await server.phone.incoming(ME, ALICE, "newer")
    await server.phone.incoming(ME, ALICE, "newest")

    async with fake_page(server.url, "two") as page:
        await page.hello()
        await server.phone.scan(str((await page.hear("ref"))["ref"]), number=ME)
        given = await page.caught_up()

    assert [(frame["body"], frame["history"]) for frame in given] == [
        ("newer", True),
        ("newest", True),
    ]


async def test_receipts_missed_while_away_are_told_at_the_next_hello(server: Simulator) -> None:
    async with linked(server, "one") as (page, creds):
        await page.hear(re=await page.send("A", CHAT))
    await server.phone.wait_for_ack(ME, "A", 3)

    async with fake_page(server.url, "one") as page:
        await page.hello(creds, unsettled={"A": 1})
        receipt = await page.hear("receipt")

    assert (receipt["ids"], receipt["ack"]) == (["A"], 3)


async def test_a_message_to_another_account_of_the_simulator_arrives_there(
    server: Simulator,
) -> None:
    async with linked(server, "one") as (mine, _), linked(server, "two", ALICE) as (theirs, _):
        await mine.send("A", CHAT, "over here")
        arrived = await theirs.hear("msg")

    assert (arrived["body"], arrived["chat"], arrived["from_me"]) == (
        "over here",
        f"{ME}@c.us",
        False,
    )


async def test_withheld_acks_are_given_one_by_one_or_released(server: Simulator) -> None:
    await server.phone.config(ack_up_to=0)
    async with linked(server, "one") as (page, _):
        call = await page.send("A", CHAT)
        await server.phone.wait_for_messages(ME, 1)
        assert (await server.phone.sent(ME))[0].ack == 0

        await server.phone.ack(ME, "A", 1)
        await page.hear(re=call)
        await server.phone.config(ack_up_to=3)
        await server.phone.release()
        await server.phone.wait_for_ack(ME, "A", 3)


async def test_a_number_or_a_group_that_does_not_exist_refuses_messages(server: Simulator) -> None:
    await server.phone.contact(BOB, registered=False)
    async with linked(server, "one") as (page, _):
        assert (await page.hear(re=await page.send("A", f"{BOB}@c.us")))[
            "error"
        ] == "not-on-whatsapp"
        assert (await page.hear(re=await page.send("B", "1@g.us")))["error"] == "item-not-found"

    assert await server.phone.sent(ME) == []


async def test_an_unlinked_device_hears_of_it_at_its_next_hello(server: Simulator) -> None:
    async with linked(server, "one") as (_, creds):
        pass
    assert await server.phone.unlink(ME) == ["one"]

    async with fake_page(server.url, "one") as page:
        await page.hello(creds)
        await page.hear("login-fail")


async def test_the_newer_of_two_pages_is_told_conflict_if_so_wished(server: Simulator) -> None:
    await server.phone.config(conflict="newer")
    async with linked(server, "one") as (_, creds), fake_page(server.url, "one") as newer:
        await newer.hello(creds)
        await newer.hear("conflict")


async def test_an_account_has_a_limited_number_of_linked_devices(server: Simulator) -> None:
    await server.phone.config(max_devices=1)
    async with linked(server, "one"), fake_page(server.url, "two") as page:
        await page.hello()
        ref = str((await page.hear("ref"))["ref"])
        with pytest.raises(PhoneError, match="1 linked devices already") as refused:
            await server.phone.scan(ref, number=ME)

    assert refused.value.status == 409


async def test_three_hundred_sessions_at_once_are_served_quickly(server: Simulator) -> None:
    """Each of them links, sends a message and has its ack within a few seconds in all."""
    ready = asyncio.Semaphore(50)

    async def session(n: int) -> None:
        async with ready, linked(server, f"page{n}", f"1777{n:07}") as (page, _):
            await page.hear(re=await page.send(f"M{n}", CHAT))

    async with asyncio.timeout(60):
        await asyncio.gather(*(session(n) for n in range(300)))
