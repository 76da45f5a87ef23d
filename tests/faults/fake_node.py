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
    """Makes browsers that need no scan, and forgets those that are over."""

    def browser(self, profile: Path, owner: str) -> FakeBrowser:
        """See FakeLauncher.browser."""
        if self.whatsapp.device_of(profile) is None:
            self.whatsapp.pair(profile, "15550001111")
        self.browsers = self.running
        return super().browser(profile, owner)


def linked(_: Settings) -> LinkedLauncher:
    """Make the launcher of a node."""
    return LinkedLauncher()


if __name__ == "__main__":
    node.chromium = linked  # type: ignore[assignment]
    sys.exit(program.main())
