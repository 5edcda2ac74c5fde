"""What contract tests share: a fake API server of their own."""

from fakeapi.fixtures import fake_cluster

__all__ = ["fake_cluster"]
