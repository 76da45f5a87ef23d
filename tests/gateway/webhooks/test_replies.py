"""What an endpoint answers to a message goes back to its chat, once."""

from __future__ import annotations

from aiohttp import web

from events.clock import utc_now
from events.message import Send
from gateway.webhooks.letters import Letter
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode
from tests.gateway.webhooks.receiver import Receiver
from tests.gateway.webhooks.world import ONE, hook, until_deliveries, write


def sends(node: ScriptedNode) -> list[Send]:
    return [command for _, command in node.commands if isinstance(command, Send)]


def bodies(node: ScriptedNode) -> list[str]:
    return [send.body for send in sends(node)]


async def test_a_reply_is_sent_to_the_chat(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await node.ready(ONE)
    receiver.answers = lambda _: web.json_response({"reply": "hello yourself"})
    await hook(running.http, receiver)

    await write(node, ONE, "hello")
    await receiver.when(lambda: len(node.sends) == 1)

    (send,) = sends(node)
    assert (send.body, send.to) == ("hello yourself", "491701111111@c.us")


async def test_a_reply_to_what_came_twice_is_sent_once(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    """The gateway may end between an answer and the record of it."""
    await node.ready(ONE)
    receiver.answers = lambda got: web.json_response({"reply": f"re: {got.text}"})
    await hook(running.http, receiver)
    await write(node, ONE, "hello")
    await receiver.when(lambda: len(node.sends) == 1)
    webhooks = running.app.state.parts.webhooks
    (endpoint,) = await webhooks.register.every()
    letter = Letter(
        webhook="crm",
        user=None,
        event_id=receiver.taken[0].id,
        event="message-received",
        session=ONE.dotted,
        position=receiver.taken[0].frame["position"],
        reason="gave_up",
        attempts=1,
        error=None,
        at=utc_now(),
    )
    await webhooks.letters.bury(endpoint.id, letter)

    again = await running.http.post("/api/webhooks/crm/redrive")

    assert again.json()["delivered"] == 1
    assert len(receiver.taken) == 2
    assert list(node.sends.values()) == [1]


async def test_an_answer_that_is_no_reply_sends_nothing(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    no_reply = ["", "no json", "[]", '"reply"', '{"reply": 7}', '{"reply": " "}', '{"reply": null}']
    await node.ready(ONE)
    receiver.answers = lambda got: web.Response(text=got.text)
    await hook(running.http, receiver)

    await write(node, ONE, *no_reply, '{"reply": "yes"}')
    await receiver.when(lambda: len(node.sends) > 0)

    assert bodies(node) == ["yes"]


async def test_a_reply_of_a_session_that_cannot_send_is_noted_and_holds_up_nothing(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)
    receiver.answers = lambda _: web.json_response({"reply": "hello"})
    await hook(running.http, receiver)

    await write(node, ONE, "a", "b")
    await receiver.until(2)

    deliveries = await until_deliveries(running, 2)
    assert {one["reply"] for one in deliveries} == {"not_ready"}
    assert not node.sends
