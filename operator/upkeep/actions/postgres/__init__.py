"""Actions on postgres."""
