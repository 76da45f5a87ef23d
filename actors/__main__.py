"""`python -m actors`: run a node."""

from __future__ import annotations

import argparse
import signal
import sys

from actors.node import Node
from events import collector
from events.logging import configure
from events.settings import BadSettings, load


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, 1 after a failure, 2 for bad settings."""
    argparse.ArgumentParser(
        prog="python -m actors",
        description="Run a node: it owns WhatsApp sessions, each with a headless browser. "
        "Configured by the environment; see the table in the README.",
    ).parse_args()
    try:
        settings = load()
    except BadSettings as error:
        sys.stderr.write(f"bad configuration: {error}\n")
        return 2
    configure(settings, "node")
    # Actor threads wait for the loop thread; short slices keep their latency down.
    sys.setswitchinterval(0.0005)
    node = Node(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: node.ended.set())
    node.start()
    collector.spare()
    node.ended.wait()
    node.stop()
    return 1 if node.failed else 0


if __name__ == "__main__":
    sys.exit(main())
