"""Frozen values that every floor above speaks of; no I/O, no wire words."""
