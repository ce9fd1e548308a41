"""Settings: what they mean, and how they are read from ``config.yaml``.

``settings`` declares every key with its meaning, unit and default; a key that is not
declared there is refused at start-up. ``load`` reads the file, resolves references to
environment variables and secret files, and reports every problem with its line.

Contract: config.
"""
