"""The staging area: where bytes wait between a client and a machine.

Promises: what clients get is signed for the public address and what machines get for the
private one; both end by themselves. Bytes never pass through this process.
"""
