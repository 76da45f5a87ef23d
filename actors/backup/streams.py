"""Copies of streams as the broker itself makes them.

nats-server's own snapshots keep positions, times, headers and what is left of each
message's life; publishing the messages anew would give every event another position,
and positions are what clients resume from and what the fence compares. Their form is
the server's (a tar, compressed), so a copy is read by a server that is no older than
the one that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import cast

from nats import errors as nats_errors
from nats.aio.client import Client
from pydantic import BaseModel, ConfigDict, JsonValue

from events import subjects

Json = dict[str, JsonValue]

COPIED = (
    # How far each webhook is before the log that it speaks of: what was posted in between
    # is posted again. The other way round, events at places that were passed already would
    # never be.
    f"KV_{subjects.HOOKS}",
    # Commands before events: of a send that ends in between, the copy then holds the
    # command and its outcome, which is an acknowledgement. The other way round it would
    # hold neither.
    subjects.COMMANDS,
    subjects.EVENTS,
    subjects.DEAD,
    f"KV_{subjects.KEYS}",
    f"KV_{subjects.IDEMPOTENCY}",
    # Files after the events that name them.
    f"OBJ_{subjects.MEDIA}",
)
"""The streams of a backup, in the order in which they are copied."""

LEFT_OUT = (f"KV_{subjects.LEASES}", f"KV_{subjects.TURNS}")
"""Who owns what right now is not true any more when it is brought back."""

CHUNK = 128 * 1_024
_PATIENCE = 60.0
"""Seconds until the broker must have answered; a large stream is checked before the first."""

NOT_FOUND = 10_059


class BrokerRefused(Exception):
    """The broker does not copy a stream, or does not take one. Says which and why."""

    def __init__(self, stream: str, why: str, code: int = 0) -> None:
        super().__init__(f"{stream}: {why}")
        self.code = code


class Description(BaseModel):
    """What the broker says of a stream that it copies: how it is configured, what it holds."""

    model_config = ConfigDict(frozen=True)

    config: Json
    state: Json

    @property
    def messages(self) -> int:
        """How many messages it holds."""
        return cast("int", self.state["messages"])

    @property
    def last(self) -> int:
        """The position of the last message that it was given."""
        return cast("int", self.state["last_seq"])


class Standing(BaseModel):
    """A stream as it is right now."""

    model_config = ConfigDict(frozen=True)

    size: int
    read: bool
    """Whether somebody waits for messages of it."""


async def standing(client: Client, stream: str) -> Standing | None:
    """Look at a stream; None if there is none. Raises BrokerRefused."""
    try:
        told = await _ask(client, stream, f"STREAM.INFO.{stream}", {})
        readers = await _ask(client, stream, f"CONSUMER.LIST.{stream}", {})
    except BrokerRefused as refusal:
        if refusal.code == NOT_FOUND:
            return None
        raise
    # Readers that nobody waits at were left behind: nodes make durable ones.
    consumers = cast("list[Json]", readers.get("consumers") or [])
    state = cast("Json", told["state"])
    return Standing(
        size=cast("int", state["bytes"]),
        read=any(each.get("num_waiting") or each.get("push_bound") for each in consumers),
    )


async def copy(client: Client, stream: str, write: Callable[[bytes], None]) -> Description:
    """Hand a copy of a stream to `write`, in pieces. Raises BrokerRefused and what `write` does."""
    inbox = client.new_inbox()
    arriving = await client.subscribe(inbox)
    try:
        asked: Json = {
            "deliver_subject": inbox,
            # Readers make themselves anew; what they had taken and not acknowledged is due again.
            "no_consumers": True,
            "chunk_size": CHUNK,
            "jsck": True,
        }
        told = await _ask(client, stream, f"STREAM.SNAPSHOT.{stream}", asked)
        while True:
            piece = await arriving.next_msg(timeout=_PATIENCE)
            if not piece.data:
                break
            write(piece.data)
            if piece.reply:
                await client.publish(piece.reply, b"")
    except (nats_errors.Error, TimeoutError) as error:
        raise BrokerRefused(stream, f"the copy broke off ({_named(error)})") from error
    finally:
        await arriving.unsubscribe()
    # An empty piece ends the copy, and its header says if that is the end of the stream.
    status = (piece.headers or {}).get("Status", "204")
    if status != "204":
        raise BrokerRefused(stream, (piece.headers or {}).get("Description", status))
    return Description.model_validate(told)


async def bring_back(
    client: Client, stream: str, copied: Description, pieces: Iterable[bytes], replicas: int
) -> None:
    """Make a stream from its copy; it must not be there. Raises BrokerRefused."""
    asked: Json = {
        "config": {**copied.config, "num_replicas": replicas},
        "state": copied.state,
    }
    told = await _ask(client, stream, f"STREAM.RESTORE.{stream}", asked)
    to = cast("str", told["deliver_subject"])
    try:
        for piece in pieces:
            answer = await client.request(to, piece, timeout=_PATIENCE)
            _refusal(stream, answer.data)
        # The last, empty one is answered when the stream stands.
        answer = await client.request(to, b"", timeout=_PATIENCE)
    except (nats_errors.Error, TimeoutError) as error:
        raise BrokerRefused(stream, f"the way back broke off ({_named(error)})") from error
    state = cast("Json", _refusal(stream, answer.data).get("state") or {})
    if state.get("last_seq") != copied.last:
        raise BrokerRefused(stream, f"ends at {state.get('last_seq')}, not at {copied.last}")


async def remove(client: Client, stream: str) -> None:
    """Remove a stream; one that is not there is no error. Raises BrokerRefused."""
    try:
        await _ask(client, stream, f"STREAM.DELETE.{stream}", {})
    except BrokerRefused as refusal:
        if refusal.code != NOT_FOUND:
            raise


async def _ask(client: Client, stream: str, subject: str, asked: Json) -> Json:
    try:
        answer = await client.request(
            f"$JS.API.{subject}", json.dumps(asked).encode(), timeout=_PATIENCE
        )
    except nats_errors.NoRespondersError:
        raise BrokerRefused(
            stream,
            "this user may not copy streams: the user of the node may (NATS_PASSWORD)",
        ) from None
    except (nats_errors.Error, TimeoutError) as error:
        raise BrokerRefused(stream, f"no answer from the broker ({_named(error)})") from error
    return _refusal(stream, answer.data)


def _refusal(stream: str, answer: bytes) -> Json:
    """Return an answer of the broker, which may be empty; raise BrokerRefused if it is a no."""
    told = cast("Json", json.loads(answer)) if answer else {}
    error = told.get("error")
    if isinstance(error, dict):
        code = error.get("err_code")
        raise BrokerRefused(
            stream, str(error.get("description")), code if isinstance(code, int) else 0
        )
    return told


def _named(error: Exception) -> str:
    return type(error).__name__
