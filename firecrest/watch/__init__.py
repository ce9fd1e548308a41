"""Following jobs and their output while somebody listens (Contract: events §4.5, §4.6).

Promises: however many listen, the batch system is asked once per interval, and a file is
read once; nobody listening costs nothing. No state is made up: what cannot be learnt is
asked again.
"""
