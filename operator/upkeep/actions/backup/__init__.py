"""Actions on backup."""
