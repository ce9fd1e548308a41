"""The event log and its fan-out to listeners in this process.

The log (a Redis stream per user) is the truth; pub/sub only says "look". Promises: a
subscription gets every later event of its user once and in order, or is told that it was
too slow. It does not promise delivery to somebody who was not subscribed (replay from an
older id reads the log).
"""
