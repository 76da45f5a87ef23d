"""Take the README's pictures of the console: `python -m tests.console.pictures`.

The whole service runs in its sandbox, with real browsers on a simulated WhatsApp,
and somebody looks at it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.console.person import Person, a_person
from tests.e2e.service import Service, a_service

FOLDER = Path(__file__).parents[2] / "gateway" / "console" / "pictures"
SHOP, ADA, GRACE = "15550001111", "15557654321", "15557650000"
WINDOW = {"width": 1200, "height": 760}
TALL = {"width": 1200, "height": 1060}
TELEPHONE = {"width": 390, "height": 760}

TALK = (
    ("in", "Hello! Do you have the jacket in blue?"),
    ("out", "Yes, two of them. Shall I keep one for you?"),
    ("in", "Please, in size M"),
    ("out", "It is yours until Friday."),
)


async def furnished(service: Service) -> None:
    """Link sessions, have people talk, and let one session fail and come back."""
    await service.phone.contact(ADA, name="Ada Lovelace")
    await service.phone.contact(GRACE, name="Grace Hopper")
    await service.link("ann", "shop", SHOP)
    await service.link("ben", "clinic", "15550002222")
    await service.link("ben", "desk", "15550003333")
    for direction, text in TALK:
        if direction == "in":
            await service.phone.incoming(SHOP, ADA, text)
        else:
            (await service.send("ann-shop", text, ADA)).raise_for_status()
        await asyncio.sleep(2)
    await service.phone.incoming(SHOP, GRACE, "When do you open tomorrow?")
    await service.http.post("/api/sessions/ben-desk/disconnect", json={})
    for number in range(30):
        await service.phone.incoming("15550002222", GRACE, f"Appointment {number}, please")
        (await service.send("ben-clinic", f"Noted as number {number}", GRACE)).raise_for_status()
        await asyncio.sleep(0.7)
    await service.http.post("/api/sessions/ann-shop/reconnect", json={})
    await service.until_status("ann-shop", "ready")
    await service.create("cleo", "news")
    await service.until_status("cleo-news", "waiting_qr")


async def taken(service: Service, person: Person, folder: Path) -> None:
    """Look at the views and take a picture of each."""
    home = str(service.note["gateway_url"])
    sessions, chat = "sessions/ann-shop", f"chats/ann-shop/{ADA}@c.us"

    async def linking() -> None:
        await person.click("button", "Link a phone")
        await person.finds("img", "The code to scan")

    views: dict[str, tuple[str, str, dict[str, int], Callable[[], Awaitable[None]] | None]] = {
        "overview": ("overview", "light", TALL, None),
        "session": (sessions, "dark", TALL, None),
        "chats": (chat, "light", WINDOW, None),
        "link": ("sessions", "light", WINDOW, linking),
        "telephone": ("sessions", "dark", TELEPHONE, None),
    }
    for name, (place, theme, window, then) in views.items():
        await person.sit(f"{home}/#/{place}", theme=theme, **window)
        await person.log_in(service.key)
        # Figures come within the second, charts a moment after them.
        await asyncio.sleep(3)
        if then is not None:
            await then()
        await person.do("shot", path=str(folder / f"{name}.png"))


async def main(folder: Path) -> None:
    """Take all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        async with (
            a_service(Path(place), MEMORY_INTERVAL="1", SENDS_PER_MINUTE="0") as service,
            a_person() as person,
        ):
            await furnished(service)
            await taken(service, person, folder)
            await service.phone.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
