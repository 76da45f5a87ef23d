"""Every key in Redis that the projections own.

What belongs to one session carries its hash tag `{<user>.<bot>}`, so a script
on it stays inside one slot of a cluster. `<n>` is the generation: a rebuild
fills the next one beside the current one, and `wa:current` names what readers
follow.

    wa:current                      the generation in use
    wa:rebuilding                   lock of a running rebuild
    wa:v<n>:index                   sorted set by name: <joined>:<user>.<bot>
    wa:v<n>:{projections}:<name>    position, updated, stopped
    wa:v<n>:{projections}:log       which log this was read from
    wa:v<n>:{projections}:memories  which servers of a cluster hold what is below the positions
    wa:v<n>:nodes                   what each node said last of its launches, by name
    wa:v<n>:{<user>.<bot>}          the session's row and counters; a tombstone once removed
    wa:v<n>:{<user>.<bot>}:history  its messages by position
    wa:v<n>:{<user>.<bot>}:m:<e>    one message, expiring with the message's own TTL
    wa:qr:{<user>.<bot>}            the QR code of now; not in the log, so in no generation
"""

from __future__ import annotations

from events.subjects import SessionId

CURRENT = "wa:current"
REBUILDING = "wa:rebuilding"
ALL_GENERATIONS = "wa:v[0-9]*"
"""Not `wa:v*`: others may keep something under a word that begins so, like the vault."""


def everything(generation: int) -> str:
    """Return the pattern of all keys of a generation."""
    return f"wa:v{generation}:*"


def index(generation: int) -> str:
    """Return the key under which every session can be found."""
    return f"wa:v{generation}:index"


def nodes(generation: int) -> str:
    """Return the key of what the nodes said last."""
    return f"wa:v{generation}:nodes"


def track(generation: int, projection: str) -> str:
    """Return the key of how far a projection is."""
    return f"wa:v{generation}:{{projections}}:{projection}"


def memories(generation: int) -> str:
    """Return the key of which servers hold what is below the positions."""
    return f"wa:v{generation}:{{projections}}:memories"


def row(generation: int, session: SessionId) -> str:
    """Return the key of a session's row."""
    return f"wa:v{generation}:{{{session.dotted}}}"


def history(generation: int, session: SessionId) -> str:
    """Return the key of a session's messages by position."""
    return f"{row(generation, session)}:history"


def entry(generation: int, session: SessionId, name: str) -> str:
    """Return the key of one message."""
    return f"{row(generation, session)}:m:{name}"


def qr(session: SessionId) -> str:
    """Return the key of a session's QR code."""
    return f"wa:qr:{{{session.dotted}}}"


def index_member(session: SessionId) -> str:
    """Return a session's place in the index: a colon is in no token, so it parts them."""
    return f"{session.joined}:{session.dotted}"


def session_of(member: str) -> SessionId:
    """Read a session back from its place in the index."""
    return SessionId.parse(member.partition(":")[2])
