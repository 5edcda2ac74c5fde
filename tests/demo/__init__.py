"""The demo: the main job on a real cluster, with every claim checked as it is shown."""
