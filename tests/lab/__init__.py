"""The lab: the real cluster that the demo and the tests run on.

It exists because nothing about an operator is proven until it has run against a real API server, kubelet and data
plane, on a machine that may have no container engine at all. It must never touch a cluster that is neither its own
nor named explicitly, and never stop or remove what it did not start.
"""
