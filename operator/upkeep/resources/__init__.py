"""Builders of Kubernetes objects: pure, from decisions to manifests."""
