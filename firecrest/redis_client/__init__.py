"""Connecting to Redis: one server, one behind Sentinel, or a cluster (Contract: config §5).

All three answer the same calls. Callers wait for a free connection instead of failing, and an
outage is an error at once: whoever needs to be patient repeats the call. A cluster needs no
more than that, because every script and every multi-key command touches one user's keys, which
share a slot, or the due list alone.
"""
