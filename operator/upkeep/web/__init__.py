"""What Upkeep shows over HTTP."""
