"""Telling an actor from the loop thread."""

from __future__ import annotations

from typing import Any

import pykka
import structlog

log = structlog.get_logger()


def tell(actor: pykka.ActorRef[Any], message: object) -> None:
    """Put a message into a mailbox; one for an actor that ended is dropped.

    The actor's end was told to the pool already, and what this message is
    about ended with it.
    """
    try:
        actor.tell(message)
    except pykka.ActorDeadError:
        log.debug("mailbox.closed", message=type(message).__name__)
