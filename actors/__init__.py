"""A node: the actors that own WhatsApp sessions, and the only writers of events."""
