"""What of a data folder goes into a backup, and how it comes back into one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from actors.machine.servers import TENANTS
from events.settings import Settings

NATS = "nats"
VAULT = "vault"

_SNAPSHOT = re.compile(r"vault/[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}/[0-9]+\.snapshot")


class Folder:
    """The folder of one mode below DATA_DIR."""

    def __init__(self, settings: Settings) -> None:
        self.home = settings.home
        self._vault = settings.vault
        self._keys = (
            settings.api_key_file,
            settings.webhook_key_file,
            settings.vault_key_file,
            # Passwords of tenants' own services; those of our roles are made anew at each start.
            self.home / TENANTS,
        )

    @property
    def names(self) -> list[str]:
        """The files of keys."""
        return [path.name for path in self._keys]

    def files(self) -> Iterator[tuple[str, Path]]:
        """List what is to be kept, by its name in the folder: keys, then snapshots."""
        for path in self._keys:
            if path.is_file():
                yield path.name, path
        for path in sorted(self._vault.glob("*/*.snapshot")):
            name = path.relative_to(self.home).as_posix()
            if _SNAPSHOT.fullmatch(name):
                yield name, path

    def takes(self, name: str) -> bool:
        """Tell whether a name is one of those; nothing else is ever written."""
        return name in self.names or bool(_SNAPSHOT.fullmatch(name))

    def occupied(self) -> list[str]:
        """Name what is there already and would have to give way."""
        taken = [path.name for path in self._keys if path.exists()]
        if any(self._vault.glob("*/*.snapshot")):
            taken.append(VAULT)
        if (self.home / NATS).exists():
            taken.append(NATS)
        return taken

    def swap(self, staged: Path, names: Iterable[str], now: datetime) -> Path | None:
        """Put what is staged in the place of what is there; return where that went, if anywhere.

        Only renames on one disk: quick, and what was there is still there. Raises OSError.
        """
        aside = self.home / f"before-{now:%Y%m%dT%H%M%S}"
        for name in names:
            if (self.home / name).exists():
                aside.mkdir(mode=0o700, exist_ok=True)
                (self.home / name).rename(aside / name)
            if (staged / name).exists():
                (staged / name).rename(self.home / name)
        return aside if aside.exists() else None


def put(path: Path, data: bytes) -> None:
    """Write a file for the owner's eyes alone, into a folder that is for them as well."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
