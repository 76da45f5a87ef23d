"""Every message of every account in order of arrival, and what each device has yet to get."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One message of one account; `ack` is 1 accepted, 2 delivered, 3 read.

    For a message of ours the receipts are the other side's; for one of theirs, our own:
    delivered when the page has kept it, read when somebody marked the chat as read.
    """

    seq: int
    number: str
    id: str
    from_me: bool
    chat: str
    author: str  # the participant, in groups
    pushname: str
    body: str
    type: str
    ts: int  # seconds
    ack: int
    repeats: int
    device: str  # which of our devices sent it, or empty
    more: str  # what it says besides its text, as JSON

    def plain(self) -> dict[str, str | int | bool]:
        """As JSON takes it."""
        return asdict(self) | {"direction": "out" if self.from_me else "in"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has not been taken in yet."""

    number: str
    id: str
    from_me: bool
    chat: str
    body: str
    ts: int
    author: str = ""
    pushname: str = ""
    type: str = "chat"
    ack: int = 1
    device: str = ""
    more: str = "{}"


class Ledger:
    """The tables of messages and of deliveries that are still due."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def take(self, draft: Draft, *, due: Iterable[str]) -> tuple[Message, bool]:
        """Take a message in, to be delivered to the `due` devices; the second time, count it.

        Returns the message as kept and whether it is new. An id is taken once per account
        and direction, whoever sends it again and however often.
        """
        known = self.find(draft.number, draft.id, from_me=draft.from_me)
        if known is not None:
            self._database.execute(
                "UPDATE message SET repeats = repeats + 1 WHERE seq = ?", (known.seq,)
            )
            return self._by_seq(known.seq), False
        values = asdict(draft)
        with self._database:
            self._database.execute("BEGIN")
            seq = self._database.execute(
                f"INSERT INTO message ({', '.join(values)})"
                f" VALUES ({', '.join(':' + name for name in values)})",
                values,
            ).lastrowid
            assert seq is not None
            self._make_due([(device, seq, 0) for device in due])
        return self._by_seq(seq), True

    def find(self, number: str, message: str, *, from_me: bool | None = None) -> Message | None:
        """The message of that id."""
        side = "" if from_me is None else f"AND from_me = {int(from_me)}"
        row = self._database.execute(
            f"SELECT * FROM message WHERE number = ? AND id = ? {side}", (number, message)
        ).fetchone()
        return _message(row) if row else None

    def messages(
        self, number: str, *, chat: str = "", direction: str = "", after: int = 0
    ) -> list[Message]:
        """An account's messages in order of arrival, all or some."""
        rows = self._database.execute(
            "SELECT * FROM message WHERE number = :number AND seq > :after"
            " AND (:chat = '' OR chat = :chat)"
            " AND (:direction = '' OR from_me = (:direction = 'out')) ORDER BY seq",
            {"number": number, "chat": chat, "direction": direction, "after": after},
        )
        return [_message(row) for row in rows]

    def raise_ack(self, number: str, messages: Sequence[str], ack: int, *, from_me: bool) -> None:
        """Note a receipt; an ack never goes back."""
        self._database.executemany(
            "UPDATE message SET ack = MAX(ack, ?) WHERE number = ? AND id = ? AND from_me = ?",
            [(ack, number, message, from_me) for message in messages],
        )

    def react(self, number: str, message: str, emoji: str) -> None:
        """Note our own reaction to a message; an empty one takes it back."""
        self._database.execute(
            "UPDATE message SET more = json_set(more, '$.reaction', ?) WHERE number = ? AND id = ?",
            (emoji, number, message),
        )

    def revoke(self, number: str, message: str) -> None:
        """Delete what a message says, for everyone."""
        self._database.execute(
            "UPDATE message SET type = 'revoked', body = '', more = '{}'"
            " WHERE number = ? AND id = ?",
            (number, message),
        )

    def unsettled(self, below: int) -> list[Message]:
        """All messages of ours with less than that ack."""
        rows = self._database.execute(
            "SELECT * FROM message WHERE from_me AND ack < ? ORDER BY seq", (below,)
        )
        return [_message(row) for row in rows]

    def due(self, device: str) -> list[tuple[Message, bool]]:
        """What a device has yet to get, in order, and whether each is history to it."""
        rows = self._database.execute(
            "SELECT message.*, pending.history FROM pending JOIN message USING (seq)"
            " WHERE pending.device = ? ORDER BY seq",
            (device,),
        )
        return [(_message(row), bool(row["history"])) for row in rows]

    def delivered(self, device: str, seqs: Sequence[int]) -> list[Message]:
        """A device has kept these; returns the messages."""
        self._database.executemany(
            "DELETE FROM pending WHERE device = ? AND seq = ?", [(device, seq) for seq in seqs]
        )
        rows = [self._row(seq) for seq in seqs]
        return [_message(row) for row in rows if row]

    def give_history(self, device: str, number: str, newest: int) -> None:
        """Let a newly linked device have the newest messages of its account."""
        rows = self._database.execute(
            "SELECT seq FROM message WHERE number = ? ORDER BY seq DESC LIMIT ?", (number, newest)
        ).fetchall()
        self._make_due([(device, row["seq"], 1) for row in rows])

    def forget_device(self, device: str) -> None:
        """Nothing is due to a device that is no longer linked."""
        self._database.execute("DELETE FROM pending WHERE device = ?", (device,))

    def _make_due(self, rows: list[tuple[str, int, int]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO pending (device, seq, history) VALUES (?, ?, ?)", rows
        )

    def _by_seq(self, seq: int) -> Message:
        row = self._row(seq)
        assert row is not None
        return _message(row)

    def _row(self, seq: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM message WHERE seq = ?", (seq,)
        ).fetchone()
        return row


def _message(row: sqlite3.Row) -> Message:
    return Message(
        row["seq"],
        row["number"],
        row["id"],
        bool(row["from_me"]),
        row["chat"],
        row["author"],
        row["pushname"],
        row["body"],
        row["type"],
        row["ts"],
        row["ack"],
        row["repeats"],
        row["device"],
        row["more"],
    )
