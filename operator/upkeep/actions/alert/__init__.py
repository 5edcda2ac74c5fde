"""Alerting itself, tested."""
