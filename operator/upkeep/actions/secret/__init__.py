"""Secrets that lie where they should not."""
