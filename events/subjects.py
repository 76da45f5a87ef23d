"""Every name on the wire: NATS subjects, streams and buckets.

The user is a token of its own, so that a broker permission can fence a tenant.
Subjects stay O(sessions): a subject for each message would cost the broker
about 520 bytes of memory apiece.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EVENTS = "WA_EVT"
COMMANDS = "WA_CMD"
DEAD = "WA_DEAD"

LEASES = "wa_lease"
KEYS = "wa_keys"
IDEMPOTENCY = "wa_idem"
HOOKS = "wa_hooks"
TURNS = "wa_turns"
MEDIA = "wa_media"

TOKEN_RULE = "1 to 64 characters of A-Z, a-z, 0-9, _ and -"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BadToken(ValueError):
    """An id is not a token: a dot, a space or a wildcard in it would be an injection."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} must be {TOKEN_RULE}")
        self.field = field


def token(value: str, field: str = "id") -> str:
    """Return `value` if it may stand in a subject; raise BadToken naming `field` if not."""
    if not _TOKEN.fullmatch(value):
        raise BadToken(field)
    return value


@dataclass(frozen=True, slots=True, order=True)
class SessionId:
    """A session belongs to a user and to one of the user's bots."""

    user: str
    bot: str

    def __post_init__(self) -> None:
        token(self.user, "userId")
        token(self.bot, "plubotId")

    @property
    def joined(self) -> str:
        """The id that clients see. Never split it: both halves may hold dashes."""
        return f"{self.user}-{self.bot}"

    @property
    def dotted(self) -> str:
        """The unambiguous form, used in subjects and keys."""
        return f"{self.user}.{self.bot}"

    @classmethod
    def parse(cls, dotted: str) -> SessionId:
        """Read the dotted form back."""
        user, _, bot = dotted.partition(".")
        return cls(user, bot)

    def __str__(self) -> str:
        return self.joined


def session_event(session: SessionId, kind: str) -> str:
    """`wa.evt.session.<user>.<bot>.<type>`."""
    return f"wa.evt.session.{session.dotted}.{kind}"


def session_family(session: SessionId) -> str:
    """The filter whose tail is the fence of a session."""
    return f"wa.evt.session.{session.dotted}.>"


def message_event(session: SessionId, kind: str) -> str:
    """`wa.evt.message.<user>.<bot>.<type>`."""
    return f"wa.evt.message.{session.dotted}.{kind}"


def message_family(session: SessionId) -> str:
    """Every message event of a session."""
    return f"wa.evt.message.{session.dotted}.>"


def pool_event(node: str, kind: str) -> str:
    """`wa.evt.pool.<node>.<type>`."""
    return f"wa.evt.pool.{token(node, 'node')}.{kind}"


def pool_family(node: str) -> str:
    """Every event of a node's pool."""
    return f"wa.evt.pool.{token(node, 'node')}.>"


RELEASED = "wa.fleet.released"
"""Core NATS between nodes: a session was handed over, and whoever has room may take it."""


def session_claims(session: SessionId) -> str:
    """Every `claimed` of a session; the last one names the node that had it."""
    return session_event(session, "claimed")


def node_drain(node: str) -> str:
    """`wa.node.<node>.drain`: core NATS, answered by the node itself."""
    return f"wa.node.{token(node, 'node')}.drain"


def create_command(user: str) -> str:
    """`wa.cmd.pool.<user>.create`."""
    return f"wa.cmd.pool.{token(user, 'userId')}.create"


def session_command(session: SessionId, verb: str) -> str:
    """`wa.cmd.session.<user>.<bot>.<verb>`."""
    return f"wa.cmd.session.{session.dotted}.{verb}"


def session_commands(session: SessionId) -> str:
    """The filter of a session's control inbox."""
    return f"wa.cmd.session.{session.dotted}.>"


def send_command(session: SessionId) -> str:
    """`wa.cmd.outbox.<user>.<bot>.send`."""
    return f"wa.cmd.outbox.{session.dotted}.send"


def ask(session: SessionId, query: str) -> str:
    """`wa.ask.<user>.<bot>.<query>`."""
    return f"wa.ask.{session.dotted}.{query}"


def asks(session: SessionId) -> str:
    """Every question a session's owner answers."""
    return f"wa.ask.{session.dotted}.*"


def live(session: SessionId, kind: str) -> str:
    """`wa.live.<user>.<bot>.<type>`: core NATS, never stored."""
    return f"wa.live.{session.dotted}.{kind}"


def requests_of(user: str) -> list[str]:
    """What a tenant's own service may publish: commands to the user's sessions, and questions."""
    return [
        create_command(user),
        f"wa.cmd.session.{user}.*.*",
        f"wa.cmd.outbox.{user}.*.send",
        f"wa.ask.{user}.>",
    ]


def told_to(user: str) -> list[str]:
    """What a tenant's own service may hear: events of the user's sessions, and notices."""
    return [
        f"wa.evt.session.{token(user, 'userId')}.>",
        f"wa.evt.message.{user}.>",
        f"wa.live.{user}.>",
    ]


def elections(stream: str) -> str:
    """Where the broker says that a copied consumer of a stream has another leader."""
    return f"$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{stream}.*"


def dead_command(subject: str) -> str:
    """`wa.dead.cmd.…`: where a command lies that was published on `subject`, unfit to carry out."""
    return f"wa.dead.{subject.removeprefix('wa.')}"


def dead_commands(session: SessionId) -> str:
    """`wa.dead.command.<user>.<bot>`: what waited for a session that is no more."""
    return f"wa.dead.command.{session.dotted}"


def dead_events(endpoint: str) -> str:
    """`wa.dead.webhook.<endpoint>`: what a webhook was not given."""
    return f"wa.dead.webhook.{token(endpoint, 'endpoint')}"


ALL_EVENTS = "wa.evt.>"
ALL_SESSION_EVENTS = "wa.evt.session.>"
ALL_MESSAGE_EVENTS = "wa.evt.message.>"
ALL_POOL_EVENTS = "wa.evt.pool.>"
ALL_REGISTERED = "wa.evt.session.*.*.registered"
ALL_REMOVED = "wa.evt.session.*.*.removed"
ALL_CREATES = "wa.cmd.pool.*.create"
ALL_COMMANDS = "wa.cmd.>"
ALL_OUTBOXES = "wa.cmd.outbox.>"
ALL_LIVE = "wa.live.>"
ALL_DEAD = "wa.dead.>"
