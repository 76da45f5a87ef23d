"""Run the simulator: `python -m tests.simulator --port 0 --data DIR`."""

import argparse
import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from tests.simulator.application import make_application
from tests.simulator.certificate import server_context
from tests.simulator.knobs import Knobs, UnknownKnobError

EPILOG = """\
The phone is a web page at <url>/_sim/phone. What a test can ask for is in control.py, the
knobs for --config are in knobs.py. The certificate is self-signed, made in DIR at first
start; pin it in Chromium with --ignore-certificate-errors-spki-list.

examples:
  python -m tests.simulator --port 8443 --data data/sandbox/simulator
  python -m tests.simulator --port 0 --data data/sim --config '{"qr_ttl": 5, "ack_ms": [5, 20, 40]}'
"""


def main() -> int:
    arguments = _arguments()
    try:
        knobs = Knobs().changed(json.loads(arguments.config))
    except (ValueError, UnknownKnobError, AttributeError) as error:
        print(f"--config: {error}", file=sys.stderr)
        return 2
    if arguments.die_with_parent:
        _die_with_parent(arguments.die_with_parent)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(arguments.port, arguments.data, arguments.ready_file, knobs))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        print(f"cannot listen on 127.0.0.1:{arguments.port}: {reason}", file=sys.stderr)
        return 1
    return 0


async def _serve(port: int, folder: Path, ready_file: Path | None, knobs: Knobs) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner = web.AppRunner(make_application(folder, knobs), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, "127.0.0.1", port, ssl_context=server_context(folder), backlog=512
        )
        await site.start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        print(url, flush=True)
        if ready_file:
            unfinished = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
            unfinished.write_text(url + "\n")
            unfinished.replace(ready_file)
        await ended.wait()
    finally:
        await runner.cleanup()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator",
        description="A local WhatsApp Web: page, server and phone, over HTTPS on 127.0.0.1.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=int, default=8443, help="0: a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="where everything is kept"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="gets the URL once it listens"
    )
    parser.add_argument("--config", default="{}", metavar="JSON", help="knobs to start with")
    parser.add_argument(
        "--die-with-parent",
        type=int,
        metavar="PID",
        help="end when the thread that started us does",
    )
    return parser.parse_args()


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill us with our parent, so that a dead test leaves nothing behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    # It may have died just before we asked; then nobody will tell us.
    if os.getppid() != parent:
        sys.exit("the parent is gone already")


if __name__ == "__main__":
    sys.exit(main())
