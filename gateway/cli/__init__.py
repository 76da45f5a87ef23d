"""The `wa` command."""
