"""What is run on the cluster, as values.

A command is equal by content, printable, and carries everything about one tool: its
argument vector, its standard input, how its output is read and what its failure means.
This floor promises that user text reaches a shell only as one quoted word
(:func:`firecrest.commands.base.line` is the only place that quotes). It does no I/O.
"""
