"""HTTP, WebSocket and the `wa` command: everyone's way in who does not speak NATS."""
