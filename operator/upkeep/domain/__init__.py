"""Decisions: what should happen, from a snapshot and a time. No I/O, no clock, no framework."""
