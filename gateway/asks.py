"""Questions to a session's owner, as HTTP wants them answered."""

from __future__ import annotations

from typing import TypeVar

from nats import errors as nats_errors
from pydantic import JsonValue, TypeAdapter, ValidationError

from events import subjects
from events.asks import Answer, Query, Question
from events.subjects import SessionId
from gateway.broker import Broker, BrokerAway
from gateway.problems import Problem, without_addresses

T = TypeVar("T")

PAGE = 35.0
"""Seconds, more than a page is given, so that the owner's own word for a failure comes through."""


class Asks:
    """Asks on core NATS; nothing is stored."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def ask(
        self,
        session: SessionId,
        query: Query,
        question: Question | None = None,
        timeout: float = 5.0,
    ) -> dict[str, JsonValue] | list[JsonValue]:
        """Return the owner's answer; raises Problem for its no, and BrokerAway."""
        body = (question or Question()).model_dump_json(exclude_none=True).encode()
        nobody = Problem(
            503, "no_owner", "Nobody runs this session at the moment; try again.", retry_after=2
        )
        return await self._request(subjects.ask(session, query), body, timeout, "session", nobody)

    async def drain(self, node: str) -> dict[str, JsonValue]:
        """Have a node hand over its sessions; raises Problem for its no, and BrokerAway."""
        nobody = Problem(404, "unknown_node", f"No node of the name {node} runs.")
        told = await self._request(subjects.node_drain(node), b"", 5.0, "node", nobody)
        return told if isinstance(told, dict) else {}

    async def _request(
        self, subject: str, body: bytes, timeout: float, whom: str, nobody: Problem
    ) -> dict[str, JsonValue] | list[JsonValue]:
        try:
            reply = await self._broker.client.request(subject, body, timeout=timeout)
            answer = Answer.model_validate_json(reply.data)
        except nats_errors.NoRespondersError:
            raise nobody from None
        except (nats_errors.TimeoutError, TimeoutError):
            detail = f"The {whom} did not answer in time; try again."
            raise Problem(503, "no_answer", detail, retry_after=2) from None
        except ValidationError:
            raise Problem(503, "bad_answer", f"The {whom}'s answer makes no sense.") from None
        except (nats_errors.Error, OSError) as error:
            raise BrokerAway from error
        if answer.error is not None:
            told = answer.error
            status = told.status if 400 <= told.status < 600 else 503
            raise Problem(status, told.reason, without_addresses(told.detail))
        return answer.data if answer.data is not None else {}

    async def look(
        self,
        session: SessionId,
        query: Query,
        shape: TypeAdapter[T],
        question: Question | None = None,
    ) -> T:
        """Have the owner ask its page; raises Problem for a no and for nonsense, and BrokerAway."""
        told = await self.ask(session, query, question, timeout=PAGE)
        try:
            return shape.validate_python(told)
        except ValidationError:
            raise Problem(503, "bad_answer", "The session's answer makes no sense.") from None
