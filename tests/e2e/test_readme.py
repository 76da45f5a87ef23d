"""What the README shows is run as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.service import FRIEND, a_service

pytestmark = [pytest.mark.services, pytest.mark.browser]

README = Path(__file__).parents[2] / "README.md"


async def test_the_program_that_speaks_only_nats_does_what_it_says(tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(program.splitlines()) < 40

    async with a_service(tmp_path) as service:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert running.stdout is not None
        said = ""
        while not said.startswith("qr "):
            said = (await asyncio.wait_for(running.stdout.readline(), 30)).decode()
        await service.phone.scan(said.split()[1], number="15550001111")
        rest = (await asyncio.wait_for(running.communicate(), 30))[0].decode()

        assert "sent {" in rest
        assert [m.chat for m in await service.phone.sent("15550001111")] == [f"{FRIEND}@c.us"]
