"""The control API says clearly what is wrong with a request; the process says what it does."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.simulator import control
from tests.simulator.certificate import pin_of_url
from tests.simulator.phone import PhoneError
from tests.simulator.process import ROOT, Simulator
from tests.simulator.questions import Questions
from tests.simulator.verbs import Verbs


@pytest.mark.parametrize(
    ("verb", "body", "status", "reason"),
    [
        ("frobnicate", "{}", 404, "nothing here is called 'frobnicate'"),
        ("_link", "{}", 404, "nothing here"),
        ("scan", "not json", 400, "not JSON"),
        ("scan", "[]", 400, "a JSON object"),
        ("scan", "{}", 400, "scan needs number"),
        ("scan", '{"number": 5, "code": "x"}', 400, "number is to be <class 'str'>"),
        ("scan", '{"number": "1", "colour": "red"}', 400, "does not take colour"),
        ("scan", '{"number": "1", "code": "stale"}', 404, "no page shows this QR code"),
        ("incoming", '{"number": "+1", "sender": "2", "body": ""}', 400, "digits only"),
        ("hang", '{"device": "x", "ms": true}', 400, "ms is to be <class 'int'>"),
        ("group", '{"subject": "x", "members": [1]}', 400, "members is to be list[str]"),
        ("drop", '{"number": "1"}', 200, ""),
        ("conflict", "{}", 400, "number or device"),
        ("conflict", '{"number": "1"}', 404, "no such page is connected"),
        ("unlink", '{"number": "1"}', 404, "no such linked device"),
        ("config", '{"colour": "red"}', 400, "no knob is called 'colour'"),
        ("config", '{"boot_ms": "soon"}', 400, "knob 'boot_ms' takes"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    server: Simulator, verb: str, body: str, status: int, reason: str
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/_sim/{verb}", data=body, ssl=False) as answer,
    ):
        assert answer.status == status
        assert reason in (await answer.json()).get("error", "")


def test_every_verb_and_question_is_in_the_table() -> None:
    table = control.__doc__ or ""

    for kind in (Verbs, Questions):
        for name in vars(kind):
            assert name.startswith("_") or f"| `{name}` |" in table, name


async def test_knobs_hold_for_all_for_an_account_or_for_a_device(server: Simulator) -> None:
    phone = server.phone
    await phone.config(boot_ms=1)
    await phone.config(number="1555", boot_ms=2)
    await phone.config(device="abc", boot_ms=3)

    holds = [
        await phone.config(),
        await phone.config(number="1555"),
        await phone.config(number="1555", device="abc"),
    ]
    assert [knobs["boot_ms"] for knobs in holds] == [1, 2, 3]

    await phone.reset()
    assert (await phone.config(number="1555"))["boot_ms"] == (await phone.config())["boot_ms"] == 20


async def test_the_certificate_is_the_same_after_a_restart(server: Simulator) -> None:
    before, url = server.pin, server.url
    assert await asyncio.to_thread(pin_of_url, url) == before

    assert await server.stop() == 0
    await server.start()

    assert server.url == url
    assert await asyncio.to_thread(pin_of_url, url) == before


async def test_a_port_in_use_is_one_clear_line(server: Simulator, tmp_path: Path) -> None:
    code, _, errors = await _run("--port", str(server.port), "--data", str(tmp_path / "other"))

    assert code == 1
    assert errors.splitlines() == [
        f"cannot listen on 127.0.0.1:{server.port}: Address already in use"
    ]


@pytest.mark.parametrize("config", ["{", "[]", '{"colour": "red"}'])
async def test_a_wrong_config_is_one_clear_line(tmp_path: Path, config: str) -> None:
    code, _, errors = await _run("--port", "0", "--data", str(tmp_path), "--config", config)

    assert code == 2
    assert len(errors.splitlines()) == 1
    assert errors.startswith("--config: ")


async def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = f"""
import asyncio, os
from pathlib import Path
from tests.simulator.process import Simulator
async def main():
    simulator = Simulator(Path({str(tmp_path)!r}))
    await simulator.start()
    print(simulator.port, flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", starter, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    port = int((await process.communicate())[0])

    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                break
            writer.close()
            await asyncio.sleep(0.02)


async def test_the_phone_has_a_page_of_its_own(server: Simulator) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/_sim/phone", ssl=False) as answer,
    ):
        assert answer.content_type == "text/html"
        assert "Phone" in await answer.text()


async def test_a_refusal_is_an_error_of_the_phone(server: Simulator) -> None:
    with pytest.raises(PhoneError) as refused:
        await server.phone.unlink("15550001111")

    assert refused.value.status == 404


async def _run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.simulator", *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), errors.decode()
