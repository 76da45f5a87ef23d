"""Everything that cannot be made anew, in one file: the log, the keys, the vault."""
