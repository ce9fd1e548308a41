"""The directory that holds all files of one demo, and holds nothing when the demo is over."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.embedded import swift

MARK = "made-by-firecrest-demo"


class UnusableError(Exception):
    """The directory cannot be used, with the reason for the reader of the screen."""


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Own `directory`, created if need be; it is removed at the end, whatever happens.

    The lock is on the directory itself, so that no lock file stays behind. It
    may hold what an earlier demo left because it was killed, see `clear`; a
    directory with anything else in it is refused.
    """
    lock = _locked(directory)
    try:
        entries = {entry.name for entry in directory.iterdir()}
        if entries and MARK not in entries:
            raise UnusableError(f"{directory} holds files that are not a demo's; name another")
        (directory / MARK).touch()
        try:
            yield
        finally:
            clear(directory)
            (directory / MARK).unlink()
            directory.rmdir()
    finally:
        os.close(lock)


def _locked(directory: Path) -> int:
    """Descriptor of the directory, created if need be, with the only lock on it."""
    while True:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UnusableError(f"{directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # another demo may have removed it between the two calls
            if directory.exists() and os.path.samestat(os.fstat(descriptor), directory.stat()):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            reason = f"another demo runs in {directory}; stop it, or name another with --state"
            raise UnusableError(reason) from error
        os.close(descriptor)


def clear(directory: Path) -> None:
    """Remove everything but the mark, also what its owner made inaccessible."""
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARK:
            entry.unlink()


def temporary(otherwise: Path) -> Path:
    """Name for a directory that goes away soon.

    Below the system's temporary directory, unless the object store cannot keep its files there
    (older kernels keep no attributes on tmpfs).
    """
    for parent in (Path(tempfile.gettempdir()), Path("/var/tmp"), otherwise):  # noqa: S108
        if parent.is_dir() and os.access(parent, os.W_OK) and swift.keeps_attributes(parent):
            return Path(tempfile.mkdtemp(prefix="firecrest-demo-", dir=parent))
    raise UnusableError("no directory whose file system keeps extended attributes")
