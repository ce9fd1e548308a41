"""The event log and its fan-out to listeners in this process.

The log (a Redis stream per user) is the truth. Pub/sub tells the next event, or says "look".
Promises: a subscription gets every later event of its user once and in order, told where some
are kept no more, or is told that it was too slow; one that resumes is given what follows its
id first, without gap or overlap.
"""
