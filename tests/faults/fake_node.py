"""A node whose browsers are fakes on linked profiles: `python -m tests.faults.fake_node`.

Everything of the node but Chromium, so that a thousand starts take a minute.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from actors import __main__ as program
from actors import node
from events.settings import Settings
from tests.fakes.browser import FakeBrowser, FakeLauncher, FakeWhatsApp


class Directory(FakeWhatsApp):
    """Knows by number which page is whose, where the fake asks all pages there are."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, FakeBrowser] = {}

    def linked(self, number: str) -> list[FakeBrowser]:
        """See FakeWhatsApp.linked."""
        page = self.newest.get(number)
        return [page] if page is not None and page in self.pages else []


class LinkedLauncher(FakeLauncher):
    """Makes browsers that need no scan, each on a phone of its own, and forgets who is over."""

    def __init__(self) -> None:
        self._directory = Directory()
        # Sessions ask on threads of their own.
        self._phones = count()
        super().__init__(self._directory)

    def browser(self, profile: Path, owner: str) -> FakeBrowser:
        """See FakeLauncher.browser."""
        whatsapp = self._directory
        if whatsapp.device_of(profile) is None:
            whatsapp.pair(profile, f"1555{next(self._phones):07d}")
        self.browsers = self.running
        made = super().browser(profile, owner)
        if made.number is not None:
            whatsapp.newest[made.number] = made
        return made


def linked(_: Settings) -> LinkedLauncher:
    """Make the launcher of a node."""
    return LinkedLauncher()


if __name__ == "__main__":
    node.chromium = linked  # type: ignore[assignment]
    sys.exit(program.main())
