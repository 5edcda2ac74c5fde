"""Work on log files of a volume."""
