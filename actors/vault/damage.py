"""What can be told of a profile without a browser: is the database of the link there?"""

from __future__ import annotations

from pathlib import Path

ORIGIN = "https_web.whatsapp.com_*.indexeddb.leveldb"


def damage(profile: Path) -> str | None:
    """Name what a profile lacks, as a stable word, or return None. Blocks for a moment.

    Words: "missing" (no profile, or one that never opened WhatsApp), "damaged" (the
    database of WhatsApp's page names no description of itself, or one that is not
    there, so that Chromium would drop it and begin anew).
    """
    databases = sorted((profile / "Default" / "IndexedDB").glob(ORIGIN))
    if not databases:
        return "missing"
    return None if all(map(_opens, databases)) else "damaged"


def _opens(database: Path) -> bool:
    # LevelDB: CURRENT holds the name of the manifest, and the manifest that of each file.
    try:
        name = (database / "CURRENT").read_bytes().decode().strip()
        return name.startswith("MANIFEST-") and (database / name).stat().st_size > 0
    except (OSError, ValueError):
        return False
