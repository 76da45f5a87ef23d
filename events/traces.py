"""Where an error came from, without its words: they may quote a message, a number, a key."""

from __future__ import annotations

import traceback


def where(error: BaseException) -> list[str]:
    """Name what failed and the last places in the code, and nothing that it was told."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return [type(error).__name__] + [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames
    ]
