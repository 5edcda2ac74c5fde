"""Upkeep turns maintenance of a Kubernetes platform into custom resources."""

__version__ = "0.1.0"
