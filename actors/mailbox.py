"""What both kinds of actors need of their mailbox."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pykka
import structlog


class Broken(Exception):
    """A handler raised what is no ordinary exception, a cancelled coroutine for one."""


@contextmanager
def contained() -> Generator[None]:
    """Turn any BaseException into an exception: pykka would stop every actor of the process."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise Broken(repr(error)) from error


log = structlog.get_logger()


def depth(inbox: object) -> int:
    """Count the messages that wait in an actor's inbox."""
    # Pykka promises less of it; that of a thread is a queue.
    return inbox.qsize() if isinstance(inbox, Queue) else 0


def tell(actor: pykka.ActorRef[Any], message: object) -> None:
    """Put a message into a mailbox; one for an actor that ended is dropped.

    The actor's end was told to the pool already, and what this message is
    about ended with it.
    """
    try:
        actor.tell(message)
    except pykka.ActorDeadError:
        log.debug("mailbox.closed", message=type(message).__name__)
