"""What somebody wants to see, and how a client says so in a query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from gateway.callers import Caller
from gateway.frames import Frame
from gateway.ids import JOINED_RULE, is_joined
from gateway.problems import Problem

KNOWN = ("session", "events", "since", "api_key")
RESUMING = ("lastEventId", "Last-Event-ID")
"""What libraries for server-sent events add where they cannot set the header."""

IDLE = ("_", "t")
"""What clients add so that no cache answers."""

_NAMES = re.compile(r"[a-z]+(-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class Watch:
    """A session or all, some events or all, a user's or anyone's."""

    session: str | None = None
    names: frozenset[str] | None = None
    user: str | None = None

    def wants(self, frame: Frame) -> bool:
        """Tell whether a frame is for this watch, whatever it is called."""
        if self.user is not None and frame.user != self.user:
            return False
        return self.session is None or frame.session == self.session


def from_query(query: QueryParams, caller: Caller) -> tuple[Watch, int | None]:
    """Read what a client wants to see, and since which position; raises Problem 400."""
    # A name that is mistyped would else show everything, or nothing, without a word.
    unknown = sorted(set(query) - {*KNOWN, *RESUMING, *IDLE})
    if unknown:
        detail = f"The query knows {', '.join(KNOWN)}, and not {', '.join(unknown)[:100]}."
        raise Problem(400, "bad_input", detail)
    session = query.get("session") or "*"
    if session != "*" and not is_joined(session):
        raise Problem(400, "bad_input", f"session {JOINED_RULE}, or *.")
    given = (name.strip() for name in (query.get("events") or "*").split(","))
    names = [name for name in given if name]
    if any(name != "*" and not _NAMES.fullmatch(name) for name in names):
        raise Problem(400, "bad_input", "events must be names of events with commas, or *.")
    watch = Watch(
        session=None if session == "*" else session,
        # A gap concerns whoever comes back, whatever they asked for.
        names=None if "*" in names else frozenset(names) | {"gap"},
        user=caller.user,
    )
    # After a reconnect `since` still says where the client began.
    places = [position(name, query.get(name)) for name in (*RESUMING, "since")]
    return watch, next((place for place in places if place is not None), None)


def position(name: str, text: str | None) -> int | None:
    """Read a position in the log, None where there is none; raises Problem 400."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Problem(400, "bad_input", f"{name} must be a position: a whole number.")
    return int(text)
