"""What a step can do: one file an action, found by the registry, run by the runner."""
