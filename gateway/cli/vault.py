"""`wa vault`: the node's own program, told where the running service has its Redis."""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.cli.service import CannotDo, broker_and_redis


def run(arguments: list[str]) -> int:
    """Hand the command line on; return the exit status."""
    environment = dict(os.environ)
    try:
        settings = broker_and_redis()
    except CannotDo:
        pass  # Nothing runs: what lies on the disk can be looked at all the same.
    else:
        environment["REDIS_HOST"] = settings.redis_host or ""
        environment["REDIS_PORT"] = str(settings.redis_port)
        environment["SANDBOX_URL"] = settings.sandbox_url or ""
        if settings.redis_password is not None:
            environment["REDIS_PASSWORD"] = settings.redis_password.get_secret_value()
    command = [sys.executable, "-m", "actors.vault", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode
