"""One machine's worth of processes: what `actors.up` starts, watches and stops."""
