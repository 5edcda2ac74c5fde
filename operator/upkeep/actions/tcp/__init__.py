"""Checks of servers whose protocol Upkeep does not speak."""
