"""Checks of what Prometheus, or anything that speaks its API, has measured."""
