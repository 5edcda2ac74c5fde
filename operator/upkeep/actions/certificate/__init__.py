"""Checks of certificates, stored and served."""
