"""Who exists: accounts with their linked devices, contacts, groups; and how each is addressed."""

import secrets
import sqlite3
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A page that was linked to an account, as the phone's list of linked devices shows it."""

    id: str
    number: str
    slot: int
    token: str
    name: str
    linked_at: float


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody with a phone number; nobody is unregistered unless a test says so."""

    number: str
    name: str = ""
    registered: bool = True
    lid_chat: bool = False  # the chat with them lives under their LID

    @property
    def wid(self) -> str:
        return f"{self.number}@c.us"

    @property
    def lid(self) -> str:
        return lid_of(self.number)

    @property
    def chat(self) -> str:
        return self.lid if self.lid_chat else self.wid


@dataclass(frozen=True, slots=True)
class Group:
    """A group chat; `members` are phone numbers."""

    id: str
    subject: str
    members: tuple[str, ...]


def lid_of(number: str) -> str:
    """The LID of a phone number: a fixed rule, so that a test can tell."""
    return f"9{number}@lid"


def number_of(wid: str) -> str:
    """The phone number behind a user's address, whichever form that has."""
    user, _, server = wid.partition("@")
    user = user.partition(":")[0]
    return user.removeprefix("9") if server == "lid" else user


class Directory:
    """The tables of accounts, devices, contacts and groups."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def link(self, device: str, number: str, *, pushname: str, name: str) -> Device:
        """Link a page to an account, which is made if it is new."""
        self._database.execute(
            "INSERT INTO account (number, pushname) VALUES (?, ?)"
            " ON CONFLICT (number) DO UPDATE SET next_device = next_device + 1",
            (number, pushname),
        )
        account = self._one("SELECT next_device FROM account WHERE number = ?", number)
        assert account is not None
        linked = Device(
            device, number, account["next_device"], secrets.token_hex(16), name, time.time()
        )
        self._database.execute(
            "INSERT OR REPLACE INTO device (id, number, slot, token, name, linked_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (linked.id, linked.number, linked.slot, linked.token, linked.name, linked.linked_at),
        )
        return linked

    def unlink(self, device: str) -> None:
        """Forget a linked device."""
        self._database.execute("DELETE FROM device WHERE id = ?", (device,))

    def device(self, device: str) -> Device | None:
        """The linked device of that id."""
        row = self._one("SELECT * FROM device WHERE id = ?", device)
        return Device(*row) if row else None

    def devices(self, number: str | None = None) -> list[Device]:
        """The linked devices of an account, or of all, oldest first."""
        where, arguments = ("WHERE number = ?", (number,)) if number else ("", ())
        rows = self._database.execute(f"SELECT * FROM device {where} ORDER BY linked_at", arguments)
        return [Device(*row) for row in rows]

    def accounts(self) -> list[str]:
        """The numbers of all accounts that were ever linked."""
        return [
            row["number"]
            for row in self._database.execute("SELECT number FROM account ORDER BY rowid")
        ]

    def pushname(self, number: str) -> str:
        """The name an account shows to others."""
        row = self._one("SELECT pushname FROM account WHERE number = ?", number)
        return row["pushname"] if row else self.contact(number).name

    def is_account(self, number: str) -> bool:
        """Whether the account was ever linked here."""
        return self._one("SELECT 1 FROM account WHERE number = ?", number) is not None

    def contact(self, number: str) -> Contact:
        """The contact of that number; unknown ones are ordinary."""
        row = self._one("SELECT * FROM contact WHERE number = ?", number)
        if row is None:
            return Contact(number)
        return Contact(row["number"], row["name"], bool(row["registered"]), bool(row["lid_chat"]))

    def put_contact(self, contact: Contact) -> None:
        """Say something particular about a contact."""
        self._database.execute(
            "INSERT OR REPLACE INTO contact (number, name, registered, lid_chat)"
            " VALUES (?, ?, ?, ?)",
            (contact.number, contact.name, contact.registered, contact.lid_chat),
        )

    def put_group(self, group: Group) -> None:
        """Make a group, or replace it."""
        self._database.execute(
            "INSERT OR REPLACE INTO party (id, subject) VALUES (?, ?)", (group.id, group.subject)
        )
        self._database.execute("DELETE FROM member WHERE party = ?", (group.id,))
        self._database.executemany(
            "INSERT INTO member (party, number) VALUES (?, ?)",
            [(group.id, m) for m in group.members],
        )

    def group(self, group: str) -> Group | None:
        """The group of that id."""
        row = self._one("SELECT * FROM party WHERE id = ?", group)
        if row is None:
            return None
        members = self._database.execute(
            "SELECT number FROM member WHERE party = ? ORDER BY number", (group,)
        )
        return Group(row["id"], row["subject"], tuple(m["number"] for m in members))

    def groups_of(self, number: str) -> list[Group]:
        """The groups an account is a member of."""
        rows = self._database.execute(
            "SELECT party FROM member WHERE number = ? ORDER BY party", (number,)
        ).fetchall()
        return [group for row in rows if (group := self.group(row["party"]))]

    def _one(self, query: str, *arguments: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(query, arguments).fetchone()
        return row
