"""What a test or a person can ask; the table is in `control.py`."""

from tests.simulator.switchboard import Switchboard
from tests.simulator.verbs import RefusedError, plain_contact, plain_group

Answer = dict[str, object] | list[dict[str, object]]


class Questions:
    """Each method is a question, its parameters are the fields of the query."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    def devices(self, *, number: str = "", device: str = "") -> Answer:
        board = self._switchboard
        linked = {d.id: d for d in board.directory.devices()}
        answer: list[dict[str, object]] = []
        for id_ in dict.fromkeys([*linked, *board.connections]):
            entry, connection = linked.get(id_), board.connections.get(id_)
            if device not in ("", id_) or number not in ("", entry.number if entry else None):
                continue
            answer.append(
                {
                    "device": id_,
                    "number": entry.number if entry else None,
                    "slot": entry.slot if entry else None,
                    "name": entry.name if entry else None,
                    "linked": entry is not None,
                    "connected": connection is not None,
                    "ready": connection is not None and connection.ready,
                    "ref": board.pairing.ref(id_),
                    "presence": connection.presence if connection else {},
                }
            )
        return answer

    def accounts(self) -> Answer:
        board = self._switchboard
        return [
            {
                "number": number,
                "pushname": board.directory.pushname(number),
                "devices": len(board.directory.devices(number)),
                "messages": len(board.ledger.messages(number)),
            }
            for number in board.directory.accounts()
        ]

    def messages(
        self,
        *,
        number: str,
        chat: str = "",
        direction: str = "",
        id: str = "",  # noqa: A002
        after: str = "0",
    ) -> Answer:
        if not after.isdigit():
            raise RefusedError(400, f"messages: after is to be a seq, not {after!r}")
        found = self._switchboard.ledger.messages(
            number, chat=chat, direction=direction, after=int(after)
        )
        return [dict(message.plain()) for message in found if id in ("", message.id)]

    def repeats(self, *, number: str) -> Answer:
        sent = self._switchboard.ledger.messages(number, direction="out")
        by_id = {message.id: message.repeats for message in sent if message.repeats}
        return {"total": sum(by_id.values()), "by_id": by_id}

    def contacts(self, *, number: str) -> Answer:
        return plain_contact(self._switchboard.directory.contact(number))

    def groups(self, *, number: str) -> Answer:
        return [plain_group(group) for group in self._switchboard.directory.groups_of(number)]

    def config(self, *, number: str = "", device: str = "") -> Answer:
        return dict(self._switchboard.knobs.of(number=number, device=device).plain())
