"""Python's garbage collector, told what a service is: what is there at the start stays."""

from __future__ import annotations

import gc


def spare() -> None:
    """Never walk over what is there now again, and walk over the rest less often.

    To be called once everything is set up: full collections of all that was imported
    were what the slowest answers waited for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
