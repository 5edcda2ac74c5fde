"""How fast things are, compared with how fast they were."""
