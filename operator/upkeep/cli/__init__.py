"""The `upkeep` command: what the image runs, and `kubectl upkeep` for people."""
