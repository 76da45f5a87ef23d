"""What a Socket.IO client may say: events as JSON, and nothing binary."""

from __future__ import annotations

from typing import Any, cast

from socketio import packet

RESERVED = frozenset({"connect", "disconnect"})


class BadPacket(ValueError):
    """The packet is none that a client of ours has a reason to send."""


class TextPacket(packet.Packet):
    """A packet without attachments: those are kept until all have come, and none is needed."""

    uses_binary_events = False

    packet_type: int
    data: Any

    def decode(self, encoded_packet: str | bytes) -> int:
        """Read a packet; raises BadPacket."""
        if not isinstance(encoded_packet, str):
            raise BadPacket("binary")
        try:
            attachments = super().decode(encoded_packet)
        except (ValueError, RecursionError):
            raise BadPacket("not JSON") from None
        if attachments or self.packet_type in {packet.BINARY_EVENT, packet.BINARY_ACK}:
            raise BadPacket("binary")
        if self.packet_type == packet.EVENT and not _is_event(self.data):
            raise BadPacket("no event")
        return 0


def _is_event(data: object) -> bool:
    # An event with a reserved name would run what only the server may run.
    told = cast("list[object]", data) if isinstance(data, list) else []
    return bool(told) and isinstance(told[0], str) and told[0] not in RESERVED
