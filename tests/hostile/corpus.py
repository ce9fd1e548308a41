"""Values that mean harm, and files that must not notice them (Contract: rest-v1 §3, §14.2)."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

#: What no name, path or list may hold (rest-v1 §3.1).
FORBIDDEN = re.compile(r"[<>|;\"'&\\()`\x00-\x1f\x7f]")

#: Odd texts that are harmless names, and what a program might take for a number or a template.
PLAIN = (
    *("0", "-1", "007", "1e9", "9" * 40, "0x10", "NaN", "\u0661\u0662", "1_0", "null", "None"),
    *("undefined", "[]", "{}", "%s%n", "{message}", "%00", "%2e%2e%2fetc", "\u2024\u2024\u2215etc"),
)


def given_to(user: str, *paths: Path) -> None:
    """Make files the user's."""
    found = pwd.getpwnam(user)
    for path in paths:
        os.chown(path, found.pw_uid, found.pw_gid, follow_symlinks=False)


class Canaries:
    """Files that no request of the campaign may change, and a place where none may appear.

    :ivar nonce: part of every odd name the campaign makes
    :ivar mark: what an injected command would create, in a directory open to all
    :ivar own: alice's own file; no request names it, only injected commands do
    :ivar open: bob's, writable for everybody; as ``own``
    :ivar closed: bob's, which requests do name, and which alice may neither read nor change
    """

    def __init__(self, directory: Path) -> None:
        self.nonce = secrets.token_hex(4)
        self.directory = directory / f"campaign-{self.nonce}"
        self.mark = self.directory / "open" / "mark"
        self.own = self.directory / "open" / "own"
        self.open = self.directory / "open" / "bobs"
        self.closed = self.directory / "closed" / "secret"
        self.secret = secrets.token_hex(16)
        for path, user, mode in (
            (self.own, "alice", 0o644),
            (self.open, "bob", 0o666),
            (self.closed, "bob", 0o600),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.secret)
            path.chmod(mode)
            given_to(user, path)
        self.directory.chmod(0o755)
        self.mark.parent.chmod(0o777)
        self.closed.parent.chmod(0o700)
        given_to("bob", self.closed.parent)
        self._before = self._look()

    def _look(self) -> dict[str, tuple[int, int, int, int, bytes]]:
        found = {}
        for path in sorted(self.directory.rglob("*")):
            about = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            seen = (about.st_mode, about.st_uid, about.st_gid, about.st_mtime_ns, content)
            found[str(path)] = seen
        return found

    def check(self) -> None:
        """Fail if something was changed, added or taken away."""
        assert self._look() == self._before

    def clear(self) -> None:
        """Remove them, and the odd names in alice's home."""
        shutil.rmtree(self.directory)
        for path in Path("/home/alice").glob(f"*{self.nonce}*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@dataclass(frozen=True)
class Corpus:
    """The values, by what may happen to them.

    :ivar never: break the text rule; wherever it applies they are refused
    :ivar literal: odd, but legal as names: taken literally, or refused by a stricter rule
    """

    never: tuple[str, ...]
    literal: tuple[str, ...]


def corpus(canaries: Canaries) -> Corpus:
    """All values; those that do something when they are not data do it to the canaries."""
    mark, own, bobs = canaries.mark, canaries.own, canaries.open
    nonce = canaries.nonce
    touch, harm = f"touch {mark}", f"touch {mark}; rm -f {own} {bobs}; echo x > {bobs}"
    never = (
        # shell
        *(f"$({touch})", f"`{touch}`", f"; {harm} ;", f"| {touch}", f"&& {touch} &&", f"& {touch}"),
        *(f"x\n{harm}\n", f"x\r\n{touch}", f"'; {touch}; '", f'"; {touch}; "', f"'\"'; {touch}; #"),
        *(
            f"\\'; {touch} #",
            f"> {bobs}",
            f"< /dev/null > {own}",
            f"x) {touch} (",
            f"{{ {touch};}}",
        ),
        # options that run a program or take another operand
        f"--checkpoint-action=exec='{touch}'",
        f"--wrap='{touch}'",
        f'{{"A": "x"}}; {touch}',
        # what ends texts and headers early
        *("x\0y", "\0", f"{own}\0.txt", "\x7f", "\x1b[2J", f"x\nX-Injected: {nonce}", "a\tb"),
        # JSON where a text belongs
        f'{{"A": "$({touch})"}}',
        '{"a":' * 2000 + "1" + "}" * 2000,
        "[" * 20_000,
    )
    literal = (
        # traversal
        str(canaries.closed),
        f"{canaries.directory}/../{canaries.directory.name}/closed/secret",
        f"{canaries.directory}/no-{nonce}/../closed/secret",
        # options
        f"-rf{nonce}",
        f"--reference={own}",
        f"--checkpoint-action=exec=touch {mark}",
        f"--to-command=touch {mark}",
        f"-e{nonce} touch {mark}",
        f"-TT touch {mark} -{nonce}",
        f"-{nonce}",
        # expansions
        f"$HOME-{nonce}",
        f"${{IFS}}touch${{IFS}}{mark}",
        f"*{nonce}",
        f"~bob/{nonce}",
        f"{{a,b}}{nonce}",
        f"!{nonce}!",
        f"localhost:{mark}",
        f"x={nonce}#",
        # texts that look like others
        f"\uff1b touch {mark} \uff1b{nonce}",
        f"\uff07{nonce}\u2019",
        f"\u202e{nonce}",
        f"{nonce}\u200b\ufeff",
        f"cl\u0443ster{nonce}",
        f"caf\u0065\u0301{nonce}",
        # sizes
        f"{nonce}" * 40,
        "/" + "a" * 3000,
        *PLAIN,
    )
    return Corpus(never, literal)
