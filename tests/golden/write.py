"""Write the golden file of every type that has none: `python -m tests.golden.write`.

A golden file is an envelope as it was once written to the wire. All of them must
decode for ever, so an existing one is never written again: when a payload
changes by more than an addition, its version goes up, and the new version gets
a file of its own beside the old one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from events import codec
from events.envelope import Payload
from events.samples import AT, SAMPLES, SHAPES

HERE = Path(__file__).parent


def path_of(type_name: str) -> Path:
    """Where the golden file of a type lies."""
    return HERE / f"{type_name}.json"


def shape_of(word: str) -> Path:
    """Where the golden file of a shape of `send` lies."""
    return HERE / "shapes" / f"{codec.type_of(SHAPES[word])}.{word}.json"


def envelope_of(payload: Payload) -> bytes:
    """Write a payload as it goes on the wire, with every extension set."""
    return codec.encode(
        codec.seal(
            payload,
            subject="ada.shop",
            source="wa/node/n1",
            at=AT,
            causation="c0ffee",
            node="n1",
            version=42,
            event_id="0123456789abcdef0123456789abcdef",
        )
    )


def main() -> None:
    """Write what is missing and say so."""
    wanted = {path_of(codec.type_of(payload)): payload for payload in SAMPLES}
    wanted |= {shape_of(word): payload for word, payload in SHAPES.items()}
    for path, payload in wanted.items():
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            text = json.dumps(json.loads(envelope_of(payload)), indent=2, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
            sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main()
