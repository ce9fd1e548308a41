"""Benchmarks: each module measures one part beside the raw limit of the same work.

A module defines ``async def run(bench: Bench) -> AsyncIterator[Result]``; its name is the
name on the command line. Results are printed, never asserted.
"""
