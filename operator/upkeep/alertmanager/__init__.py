"""Alertmanagers of the platform: which there are, and how they are talked to."""
