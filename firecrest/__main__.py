"""``python -m firecrest``: the command line."""

from firecrest.cli import main

main(prog_name="firecrest-server")
