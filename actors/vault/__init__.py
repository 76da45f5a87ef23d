"""The vault: encrypted snapshots of browser profiles, so that a link outlives its machine."""
