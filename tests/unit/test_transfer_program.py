"""The program that moves files on a machine, run here (Contract: rest-v1 §8.2)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from firecrest.commands.fetch import PROGRAM

#: A removal that somebody disturbs for so many times, by writing into the directory.
DISTURBED = """#!/bin/sh
count=$(cat {count})
echo $((count - 1)) >{count}
[ "$count" -le 0 ] || {{ echo "Directory not empty" >&2; exit 1; }}
exec {rm} "$@"
"""


def test_what_is_written_into_while_it_is_discarded_goes_all_the_same(tmp_path: Path) -> None:
    count, programs, place = tmp_path / "count", tmp_path / "bin", tmp_path / "copy.1"
    count.write_text("2")
    programs.mkdir()
    (programs / "rm").write_text(DISTURBED.format(count=count, rm="/bin/rm"))
    (programs / "rm").chmod(0o755)
    place.mkdir()
    (place / "data").touch()
    subprocess.run(
        ["/bin/sh", "-s", "--", "discard", str(tmp_path / "copy")],
        input=PROGRAM,
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        check=True,
    )
    assert not place.exists()
