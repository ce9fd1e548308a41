"""The task engine: states, storage in Redis, ownership, and the loop that moves tasks on.

Promises: a task is stored before its receipt; a transition, its log entry and its
publication are one atomic step in Redis; only edges of the table in ``states`` are ever
written; a writer that lost its task is refused (the fence). It knows no workflow and no SSH.
"""
