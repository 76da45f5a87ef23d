"""`wa vault`, `backup` and `restore`: the node's own programs, told where the service is."""

from __future__ import annotations

import os
import subprocess
import sys

from events.settings import Role
from gateway.cli.service import CannotDo, broker_and_redis


def run(module: str, arguments: list[str], *, broker_as: Role | None = None) -> int:
    """Hand the command line on; return the exit status.

    With `broker_as` the program is told the broker as well, and that role's password.
    """
    environment = dict(os.environ)
    try:
        settings = broker_and_redis(broker_as or "ops")
    except CannotDo:
        pass  # Nothing runs: what lies on the disk can be looked at all the same.
    else:
        url = settings.redis_url
        environment["REDIS_URL"] = url.get_secret_value() if url else ""
        environment["REDIS_HOST"] = settings.redis_host or ""
        environment["REDIS_PORT"] = str(settings.redis_port)
        environment["SANDBOX_URL"] = settings.sandbox_url or ""
        if settings.redis_password is not None:
            environment["REDIS_PASSWORD"] = settings.redis_password.get_secret_value()
        if broker_as is not None and settings.nats_url is not None:
            environment["NATS_URL"] = settings.nats_url
            if settings.nats_password is not None:
                environment["NATS_PASSWORD"] = settings.nats_password.get_secret_value()
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode
