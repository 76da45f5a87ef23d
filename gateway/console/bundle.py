"""The console's files, read once: each plain and compressed, all under one digest."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

PAGE = Path(__file__).parent / "page"
CHARTS = Path(__file__).parents[2] / "node_modules" / "uplot" / "dist"
"""Where npm puts the library that draws the charts; the pages do without it if they must."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_MODULES = "<!-- modules -->"
_DIGEST = "DIGEST"
_ENTRY = "index.html"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served."""

    kind: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """Compress a file; `name` tells its media type."""
        # Without the time in it, the same content is the same bytes.
        return cls(_KINDS[Path(name).suffix], content, gzip.compress(content, 9, mtime=0))


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files by name, and the page that names them with the digest of their contents."""

    digest: str
    entry: File
    files: Mapping[str, File]

    @classmethod
    def read(cls, page: Path = PAGE, charts: Path = CHARTS) -> Bundle:
        """Read the files; raises OSError for the page's own, and does without the charts."""
        found = {path.name: path.read_bytes() for path in sorted(page.iterdir())}
        found |= _charts(charts)
        entry = found.pop(_ENTRY).decode()
        whole = hashlib.sha256(entry.encode())
        for name, content in found.items():
            whole.update(name.encode() + b"\0" + content)
        digest = whole.hexdigest()[:16]
        text = entry.replace(_MODULES, "\n".join(_preloads(found))).replace(_DIGEST, digest)
        files = {name: File.of(name, content) for name, content in found.items()}
        return cls(digest, File.of(_ENTRY, text.encode()), files)


def _charts(folder: Path) -> dict[str, bytes]:
    try:
        return {
            "uplot.js": (folder / "uPlot.esm.js").read_bytes(),
            "uplot.css": (folder / "uPlot.min.css").read_bytes(),
        }
    except OSError:
        # A gateway without npm's packages serves everything else, figures as text included.
        log.warning("console.no_charts", missing="uplot", mend="make setup")
        return {"uplot.css": b""}


def _preloads(files: Mapping[str, bytes]) -> Iterator[str]:
    """Name the modules in the page: they come side by side, not one after the other."""
    for name in files:
        # Charts are fetched by the views that draw some.
        if name.endswith(".js") and name != "uplot.js":
            yield f'<link rel="modulepreload" href="console/{_DIGEST}/{name}">'
