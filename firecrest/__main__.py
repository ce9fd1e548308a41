"""``python -m firecrest`` and ``firecrest-server``: the command line."""

import gc

gc.disable()  # nothing of what is loaded now is garbage, and looking for some takes time

from firecrest.cli import main  # noqa: E402

gc.freeze()  # nor will it ever be, but for half a MiB
gc.enable()


def run() -> None:
    """Run the command line."""
    main(prog_name="firecrest-server")


if __name__ == "__main__":
    run()
