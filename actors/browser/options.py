"""What an operator may decide about browsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

PAGE_URL = "https://web.whatsapp.com/"
PAGE_ORIGIN = "https://web.whatsapp.com"

_BUNDLE = "node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each kind of waiting may take, in seconds."""

    launch: float = 20.0
    navigation: float = 30.0
    inject: float = 120.0  # until WhatsApp registered the modules wa-js needs
    call: float = 10.0
    history: float = 30.0  # reading many messages
    media: float = 60.0  # downloading one file in the page
    ack: float = 30.0  # from handing a message over to the server's ack
    log_out: float = 20.0
    close: float = 5.0  # grace between asking a browser to close and killing it


@dataclass(frozen=True, slots=True)
class BrowserOptions:
    """How browsers are found, started and limited."""

    executable: Path | None = None
    sandbox_url: str | None = None
    wa_js: Path = Path(__file__).parents[2] / _BUNDLE
    heap_mb: int = 256
    disk_cache_mb: int = 32
    extra_args: tuple[str, ...] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)
