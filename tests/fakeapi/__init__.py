"""A fake Kubernetes API server for contract and operator tests: a real HTTP server on a free loopback port.

It exists because a real cluster takes a quarter of an hour to come up and cannot be told to die between a commit
and its answer. It must never be kinder than the real server where controllers trip (versions, conflicts,
finalizers, watches, defaults); `fakeapi.contract` holds what both must do, and the cluster tests run the same
checks against a real API server.

Known and deliberate differences: no dry run (it is refused), no schema or CEL validation, no RBAC, no admission
webhooks; strategic merge patches are merged like RFC 7386 patches; server-side apply creates or merges, without
conflicts and without removing what a manager no longer applies; lists are atomic in managedFields; Pods go at once
when deleted, for there is no kubelet to wait for; garbage is collected at once instead of a moment later.
"""
