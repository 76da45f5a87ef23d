"""Webhooks: events of the log, posted to whoever asked for them."""
