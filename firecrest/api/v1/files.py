"""`/utilities`: making, changing, describing and removing files (Contract: rest-v1 §6)."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError
from msgspec import to_builtins
from msgspec.structs import asdict

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Refusal
from firecrest.api.http.params import Flag, RemotePath, Text, Unchecked, check_text
from firecrest.api.v1 import answers
from firecrest.api.v1.errors import UTILITIES
from firecrest.api.v1.failures import MODE, NEW_PATH, OWNERS, PATH, TWO_PATHS
from firecrest.commands.files import (
    ChangeMode,
    ChangeOwner,
    Checksum,
    Copy,
    FileType,
    MakeDirectories,
    MakeDirectory,
    Move,
    Remove,
    Stat,
    Symlink,
)
from firecrest.commands.identity import Id, WhoAmI
from firecrest.errors import CommandFailed, Fault, InvalidInput
from firecrest.schema import Declared, item

endpoints = Endpoints(UTILITIES)

_OCTAL = re.compile(r"[0-7]{1,4}", re.ASCII)
_SYMBOLIC = re.compile(r"[ugoa]*([-+=][rwxXst]*)+(,[ugoa]*([-+=][rwxXst]*)+)*", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9_.$@][A-Za-z0-9_.$@-]*", re.ASCII)
_NO = {"false", "no", "0"}


class PresentFlag(Flag):
    """True when it is there at all, unless it says no (``mkdir``'s ``p``)."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        return str(value).lower() not in _NO


class PathParams(Declared):
    """One path."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file or directory")


class MkdirParams(Declared):
    """Form of mkdir."""

    target_path: str = item(RemotePath(), name="targetPath", help="directory to make")
    parents: bool = item(
        PresentFlag(), name="p", default=False, help="make parents as well; one that exists is fine"
    )


class TwoPathsParams(Declared):
    """From where and to where."""

    target_path: str = item(RemotePath(), name="targetPath", help="the new path")
    source_path: str = item(RemotePath(), name="sourcePath", help="what there is")


class ChmodParams(Declared):
    """Form of chmod."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file or directory")
    mode: str = item(
        Text(metadata={"examples": ["640", "u+x"]}), help="permissions, octal or symbolic"
    )


class ChownParams(Declared):
    """Form of chown; one of the names is needed."""

    target_path: str = item(RemotePath(), name="targetPath", help="the file or directory")
    owner: str = item(Unchecked("alice"), default="", help="name or number of the new owner")
    group: str = item(Unchecked("users"), default="", help="name or number of the new group")


class SymlinkForm(Declared):
    """Form of symlink; what is wrong with ``linkPath`` has words of its own."""

    target_path: str = item(RemotePath(), name="targetPath", help="what the link points to")
    link_path: str = item(RemotePath(), name="linkPath", help="the new link")


class StatParams(Declared):
    """Query of stat; ``sourcePath`` serves where ``targetPath`` is absent."""

    target_path: str | None = item(
        RemotePath(), name="targetPath", default=None, help="the file; this or sourcePath"
    )
    source_path: str | None = item(
        RemotePath(), name="sourcePath", default=None, help="the file, if targetPath is absent"
    )
    dereference: bool = item(Flag(), default=False, help="tell of what a link points to")


class WhoAmIParams(Declared):
    """Query of whoami."""

    groups: bool = item(Flag(), default=False, help="tell ids and groups as well")


def _success(command: str, output: Any = "") -> dict[str, Any]:
    return {"description": f"Success to {command} file.", "output": output}


@endpoints.post(
    "/utilities/mkdir",
    MkdirParams,
    status=201,
    on_error="Error on mkdir operation",
    fails=NEW_PATH,
    contract="rest-v1 §6.2",
)
async def mkdir(call: Call, params: MkdirParams) -> dict[str, Any]:
    """Make a directory."""
    make = MakeDirectories if params.parents else MakeDirectory
    await call.machine.run(make(params.target_path))
    return _success("mkdir")


@endpoints.put(
    "/utilities/rename",
    TwoPathsParams,
    on_error="Error on rename operation",
    fails=TWO_PATHS,
    contract="rest-v1 §6.3",
)
async def rename(call: Call, params: TwoPathsParams) -> dict[str, Any]:
    """Give a file or directory another name, replacing what has it."""
    await call.machine.run(Move(params.source_path, params.target_path))
    return _success("rename")


@endpoints.post(
    "/utilities/copy",
    TwoPathsParams,
    status=201,
    on_error="Error on copy operation",
    fails=TWO_PATHS,
    contract="rest-v1 §6.4",
)
async def copy(call: Call, params: TwoPathsParams) -> dict[str, Any]:
    """Copy a file or a tree."""
    await call.machine.run(Copy(params.source_path, params.target_path))
    return _success("copy")


@endpoints.put(
    "/utilities/chmod",
    ChmodParams,
    on_error="Error on chmod operation",
    fails=(*PATH, MODE),
    contract="rest-v1 §6.5",
)
async def chmod(call: Call, params: ChmodParams) -> dict[str, Any]:
    """Change permissions."""
    mode = params.mode
    if not _OCTAL.fullmatch(mode) and not _SYMBOLIC.fullmatch(mode):
        if mode.isdigit():
            raise CommandFailed(Fault.INVALID_MODE, f"invalid mode: {mode}", params.target_path)
        raise InvalidInput("'mode' has invalid char")
    output = await call.machine.run(ChangeMode(params.target_path, mode))
    return {"description": "Success to chmod file or directory.", "output": output}


@endpoints.put(
    "/utilities/chown",
    ChownParams,
    on_error="Error on chown operation",
    fails=(*PATH, *OWNERS),
    contract="rest-v1 §6.6",
)
async def chown(call: Call, params: ChownParams) -> dict[str, Any]:
    """Change owner, group or both."""
    owner, group = params.owner, params.group
    error = None
    if not owner and not group:
        error = "group or owner must be set"
    elif not all(_ACCOUNT.fullmatch(name) for name in (owner, group) if name):
        error = "group or owner has invalid char"
    if error:
        raise Refusal(400, {"description": "Error in chown operation", "error": error})
    output = await call.machine.run(ChangeOwner(params.target_path, owner, group))
    return _success("chown", output)


@endpoints.post(
    "/utilities/symlink",
    form=(SymlinkForm,),
    status=201,
    on_error="Error on symlink operation",
    fails=NEW_PATH,
    contract="rest-v1 §6.7",
)
async def symlink(call: Call, _: None) -> dict[str, Any]:
    """Make a symbolic link."""
    given = (await call.form()).fields
    path = call.check(PathParams, given)
    reason = None if "linkPath" in given else "not specified"
    if reason is None:
        try:
            check_text(given["linkPath"])
        except ValidationError as error:
            reason = str(error.messages[0])
    if reason is not None:
        body = {"description": "Failed to create symlink", "error": f"'linkPath' value {reason}"}
        raise Refusal(400, body)
    await call.machine.run(Symlink(path.target_path, given["linkPath"]))
    return _success("symlink")


@endpoints.get(
    "/utilities/file",
    PathParams,
    on_error="Error on file operation",
    fails=PATH,
    contract="rest-v1 §6.8",
)
async def file(call: Call, params: PathParams) -> dict[str, Any]:
    """Tell what kind of contents a file has."""
    return _success("file", await call.machine.run(FileType(params.target_path)))


@endpoints.get(
    "/utilities/stat",
    StatParams,
    on_error="Error on stat operation",
    answer=answers.Stat,
    fails=PATH,
    contract="rest-v1 §6.9",
)
async def stat(call: Call, params: StatParams) -> dict[str, Any]:
    """Give the numbers of a file."""
    path = params.target_path or params.source_path
    if path is None:
        raise InvalidInput("'targetPath' not specified")
    found = await call.machine.run(Stat(path, params.dereference))
    return _success("stat", asdict(found))


@endpoints.get(
    "/utilities/checksum",
    PathParams,
    on_error="Error on checksum operation",
    fails=PATH,
    contract="rest-v1 §6.10",
)
async def checksum(call: Call, params: PathParams) -> dict[str, Any]:
    """Give the SHA-256 of a file."""
    return _success("checksum", await call.machine.run(Checksum(params.target_path)))


@endpoints.delete(
    "/utilities/rm",
    PathParams,
    status=204,
    on_error="Error on rm operation",
    fails=PATH,
    contract="rest-v1 §6.14",
)
async def rm(call: Call, params: PathParams) -> None:
    """Remove a file or a tree."""
    await call.machine.run(Remove(params.target_path))


@endpoints.get(
    "/utilities/whoami",
    WhoAmIParams,
    on_error="Error on whoami operation",
    answer=answers.WhoAmI,
    contract="rest-v1 §6.15",
)
async def whoami(call: Call, params: WhoAmIParams) -> dict[str, Any]:
    """Tell who the caller is on the machine."""
    if params.groups:
        identity = await call.machine.run(Id())
        return {"description": "User information", "output": to_builtins(identity)}
    return {"description": "User information", "output": await call.machine.run(WhoAmI())}
