"""Batch systems: domain values in, domain values out, each one module behind one interface.

``systems[].scheduler.type`` names the module (``slurm`` is ``firecrest.scheduler.slurm``).
This floor builds commands and reads their output; it opens no connection and knows no
task, no user token and no wire format.
"""
