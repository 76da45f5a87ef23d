"""What an endpoint answers to a message goes back to its chat, once."""

from __future__ import annotations

import asyncio
import hashlib

import structlog

from events import message
from gateway import recipients
from gateway.broker import BrokerAway
from gateway.directory import Directory
from gateway.frames import Told
from gateway.problems import Problem
from gateway.sending import Sender
from gateway.webhooks.endpoint import Endpoint
from projections.read import ReadModelsAway

log = structlog.get_logger()

EVENT = "message-received"
PAUSE = 1.0
TRIES = 60


class Replies:
    """Sends replies through the path that every message takes."""

    def __init__(self, directory: Directory, sender: Sender) -> None:
        self._directory = directory
        self._sender = sender

    async def send(self, endpoint: Endpoint, told: Told, text: str) -> str:
        """Send a reply; return a word for what became of it.

        The idempotency key is made of endpoint and event: the same event delivered
        again, and answered again, sends nothing again.
        """
        if not isinstance(told.payload, message.Received) or told.payload.from_me:
            return "ignored"
        try:
            chat = recipients.chat_id(told.payload.chat)
        except recipients.BadRecipient:
            return "no_recipient"
        key = reply_key(endpoint.id, told.envelope.id)
        for _ in range(TRIES):
            try:
                view = await self._directory.view(told.session)
                if view is None:
                    return "no_session"
                return (await self._sender.through(view, chat, text, key)).status
            except (BrokerAway, ReadModelsAway):
                await asyncio.sleep(PAUSE)
            except Problem as problem:
                if problem.status_code not in {429, 503}:
                    log.info(
                        "webhooks.reply_refused", session=told.session.joined, reason=problem.reason
                    )
                    return problem.reason
                await asyncio.sleep(max(PAUSE, problem.retry_after or 0))
        return "given_up"


def reply_key(endpoint_id: str, event_id: str) -> str:
    """Make the idempotency key of a reply."""
    return "reply:" + hashlib.sha256(f"{endpoint_id}/{event_id}".encode()).hexdigest()
