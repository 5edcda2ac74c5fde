"""Actions on http."""
