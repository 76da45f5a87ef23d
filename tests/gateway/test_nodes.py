"""Nodes over HTTP: emptying one."""

from __future__ import annotations

import httpx
from nats.aio.msg import Msg

from events import codec, subjects
from tests.gateway.conftest import key_for
from tests.gateway.node import ScriptedNode


async def answers(node: ScriptedNode, name: str, *told: bytes) -> None:
    """Have a node of this name answer drains, one after the other."""
    left = list(told)

    async def asked(message: Msg) -> None:
        await message.respond(left.pop(0))

    await node.client.subscribe(subjects.node_drain(name), cb=asked)
    await node.client.flush()


async def test_a_drain_tells_how_many_sessions_are_left(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await answers(node, "n1", *(codec.answer({"node": "n1", "left": left}) for left in (2, 0)))

    first, then = [await http.post("/api/nodes/n1/drain") for _ in range(2)]

    assert first.status_code == 200
    assert (first.json()["node"], first.json()["left"]) == ("n1", 2)
    assert then.json()["left"] == 0


async def test_a_node_that_nobody_could_relieve_says_so(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await answers(node, "n1", codec.answer_error("nowhere_to_go", "no other node has room", 409))

    answer = await http.post("/api/nodes/n1/drain")

    assert (answer.status_code, answer.json()["detail"]) == (409, "no other node has room")


async def test_a_node_that_does_not_run_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/nodes/n7/drain")

    assert answer.status_code == 404
    assert "n7" in answer.json()["detail"]


async def test_a_name_that_is_no_name_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/nodes/n*/drain")

    assert answer.status_code == 400


async def test_a_users_key_drains_nothing(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await answers(node, "n1", codec.answer({"node": "n1", "left": 2}))
    key = await key_for(http, "ann")

    answer = await http.post("/api/nodes/n1/drain", headers={"x-api-key": key})

    assert answer.status_code == 403
