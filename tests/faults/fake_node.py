"""A node whose browsers are fakes on linked profiles: `python -m tests.faults.fake_node`.

Everything of the node but Chromium, so that a thousand starts take a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path

from actors import __main__ as program
from actors import node
from events.settings import Settings
from tests.fakes.browser import FakeBrowser, FakeLauncher


class LinkedLauncher(FakeLauncher):
    """Makes browsers that need no scan, each on a phone of its own, and forgets who is over."""

    _phones = 0

    def browser(self, profile: Path, owner: str) -> FakeBrowser:
        """See FakeLauncher.browser."""
        if self.whatsapp.device_of(profile) is None:
            self._phones += 1
            self.whatsapp.pair(profile, f"1555{self._phones:07d}")
        self.browsers = self.running
        return super().browser(profile, owner)


def linked(_: Settings) -> LinkedLauncher:
    """Make the launcher of a node."""
    return LinkedLauncher()


if __name__ == "__main__":
    node.chromium = linked  # type: ignore[assignment]
    sys.exit(program.main())
