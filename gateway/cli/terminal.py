"""The terminal that `wa` writes to, and the service that it was started for."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from gateway.cli.service import Json, Service, find

# No markup: what comes from a session could hold it.
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@dataclass(slots=True)
class Options:
    """What was said before the command."""

    url: str | None = None
    key: str | None = None


options = Options()


def service() -> Service:
    """Find the service that was named, or the one that runs here; raises CannotDo."""
    return find(options.url, options.key)


def plain(text: str) -> None:
    """Write as it is: what others read, and what must not be wrapped."""
    print(text, flush=True)


def table(*names: str) -> Table:
    """Make a table with these columns."""
    made = Table(box=None, header_style="dim")
    for name in names:
        made.add_column(name)
    return made


def moment(at: JsonValue) -> str:
    """Show a time of the gateway as people read it."""
    return str(at or "")[:19].replace("T", " ")


def rows(answer: Json, name: str) -> list[Json]:
    """Take the list of this name out of an answer."""
    found = answer.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
