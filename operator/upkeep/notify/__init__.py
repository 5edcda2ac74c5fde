"""Channels to people, which the platform configures and resources name; it must never pass on what their URLs hold."""
