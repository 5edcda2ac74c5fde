"""Credentials that are replaced by new ones."""
