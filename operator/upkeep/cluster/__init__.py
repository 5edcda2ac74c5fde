"""Kubernetes I/O on raw dicts: client, cache, lease, events."""
