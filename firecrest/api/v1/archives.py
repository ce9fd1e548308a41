"""`/utilities`: packing and unpacking (Contract: rest-v1 §6.16)."""

from __future__ import annotations

import posixpath
from typing import Any

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints
from firecrest.api.http.params import Flag, RemotePath, Unchecked
from firecrest.api.v1.errors import UTILITIES
from firecrest.api.v1.failures import TWO_PATHS
from firecrest.commands.archives import Compress, Extract, Format
from firecrest.errors import InvalidInput
from firecrest.schema import Declared, item

endpoints = Endpoints(UTILITIES)

_AUTO = "auto"
_FORMATS = {
    "zip": Format.ZIP,
    "tar": Format.TAR,
    "tgz": Format.TAR_GZIP,
    "gz": Format.TAR_GZIP,
    "tar.gz": Format.TAR_GZIP,
    "bz2": Format.TAR_BZIP2,
    "tbz2": Format.TAR_BZIP2,
    "tar.bz2": Format.TAR_BZIP2,
}


class CompressParams(Declared):
    """Form of compress."""

    target_path: str = item(RemotePath(), name="targetPath", help="archive to write")
    source_path: str = item(RemotePath(), name="sourcePath", help="file or directory to pack")
    dereference: bool = item(Flag(), default=False, help="whether links are followed")


class ExtractParams(Declared):
    """Form of extract."""

    target_path: str = item(RemotePath(), name="targetPath", help="directory to unpack into")
    source_path: str = item(RemotePath(), name="sourcePath", help="archive to unpack")
    type: str = item(Unchecked(".zip"), default="", help="format; must be a known one, or auto")
    extension: str = item(Unchecked(".tar"), default="", help="format, if it is a known one")


@endpoints.post(
    "/utilities/compress",
    CompressParams,
    status=201,
    on_error="Error on compress operation",
    fails=TWO_PATHS,
    contract="rest-v1 §6.16",
)
async def compress(call: Call, params: CompressParams) -> dict[str, Any]:
    """Pack a file or a tree into an archive."""
    await call.machine.run(Compress(params.source_path, params.target_path, params.dereference))
    return {"description": "Success to compress file.", "output": ""}


@endpoints.post(
    "/utilities/extract",
    ExtractParams,
    status=201,
    on_error="Error on extract operation",
    fails=TWO_PATHS,
    contract="rest-v1 §6.16",
)
async def extract(call: Call, params: ExtractParams) -> dict[str, Any]:
    """Unpack an archive."""
    wanted = archive_format(params.source_path, params.type, params.extension)
    await call.machine.run(Extract(params.source_path, params.target_path, wanted))
    return {"description": "Success to extract file.", "output": ""}


def archive_format(source: str, kind: str, extension: str) -> Format:
    """The format that a request asks for, or that the archive's name tells.

    :param kind: the field ``type``, which wins and must be known
    :param extension: the field ``extension``; one that is not known is as none, because
        clients send odd values there
    :raises InvalidInput: nothing tells the format
    """
    unsupported = InvalidInput(f"Unsupported file format in {source}.")
    if kind and kind != _AUTO:
        if (found := _FORMATS.get(kind.removeprefix("."))) is None:
            raise unsupported
        return found
    if not kind and extension and (found := _FORMATS.get(extension.removeprefix("."))):
        return found
    ending = posixpath.splitext(source)[1].removeprefix(".")
    if (found := _FORMATS.get(ending)) is None:
        raise unsupported
    return found
