"""Measures how fast schedules that are due in one minute become Jobs, beside the CronJob controller and a bare client.

Everything runs on this machine, against one API server of the benchmark's own. It must never talk to any other
cluster, and judges nothing: it prints figures and whether they are within the budgets.
"""
