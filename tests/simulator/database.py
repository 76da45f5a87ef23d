"""The simulator's SQLite file: one connection, every statement committed at once."""

import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    number TEXT PRIMARY KEY, pushname TEXT NOT NULL, next_device INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, number TEXT NOT NULL, slot INTEGER NOT NULL, token TEXT NOT NULL,
    name TEXT NOT NULL, linked_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS device_number ON device (number);
CREATE TABLE IF NOT EXISTS contact (
    number TEXT PRIMARY KEY, name TEXT NOT NULL,
    registered INTEGER NOT NULL, lid_chat INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS party (id TEXT PRIMARY KEY, subject TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS member (
    party TEXT NOT NULL, number TEXT NOT NULL, PRIMARY KEY (party, number));
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL, id TEXT NOT NULL,
    from_me INTEGER NOT NULL, chat TEXT NOT NULL, author TEXT NOT NULL, pushname TEXT NOT NULL,
    body TEXT NOT NULL, type TEXT NOT NULL, ts INTEGER NOT NULL, ack INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0, device TEXT NOT NULL, more TEXT NOT NULL DEFAULT '{}');
CREATE UNIQUE INDEX IF NOT EXISTS message_once ON message (number, from_me, id);
CREATE INDEX IF NOT EXISTS message_unsettled ON message (ack) WHERE from_me;
CREATE TABLE IF NOT EXISTS pending (
    device TEXT NOT NULL, seq INTEGER NOT NULL, history INTEGER NOT NULL,
    PRIMARY KEY (device, seq)) WITHOUT ROWID;
"""

TABLES = ("account", "device", "contact", "party", "member", "message", "pending")


def open_database(folder: Path) -> sqlite3.Connection:
    """Open (or make) the file in `folder`.

    WAL with synchronous=NORMAL: a commit survives `kill -9` of this process, which is what
    tests do to it, and costs no fsync. Without an explicit BEGIN each statement commits by
    itself, so whatever the page was told is already kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder / "simulator.sqlite", isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(SCHEMA)
    columns = {row["name"] for row in database.execute("PRAGMA table_info(message)")}
    if "more" not in columns:  # a folder from before messages could carry anything but text
        database.execute("ALTER TABLE message ADD COLUMN more TEXT NOT NULL DEFAULT '{}'")
    return database


def empty(database: sqlite3.Connection) -> None:
    """Forget everything."""
    for table in TABLES:
        database.execute(f"DELETE FROM {table}")
