"""Replicas of the operator as processes of their own, so that tests can kill them, against a fake cluster."""
