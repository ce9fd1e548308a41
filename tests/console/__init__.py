"""The console in a real browser, against the whole testbed."""
