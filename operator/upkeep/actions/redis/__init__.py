"""Actions on redis."""
