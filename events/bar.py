"""How far something long is, for whoever watches it on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

Advance = Callable[[int, int], None]
"""Told how much is done, and how much there is in all as far as is known."""


def unseen(_done: int, _whole: int) -> None:
    """Advance where nobody watches."""


@contextlib.contextmanager
def bar(name: str, of: Literal["pieces", "bytes"] = "pieces") -> Generator[Advance]:
    """Show a bar on stderr if that is a terminal, and nothing elsewhere: stdout is for answers."""
    console = Console(stderr=True)
    count = DownloadColumn() if of == "bytes" else MofNCompleteColumn()
    columns = (TextColumn(name), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, whole: shown.update(task, completed=done, total=whole)
