"""`/status` (Contract: rest-v1 §5)."""

from __future__ import annotations

from typing import Any

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Reply
from firecrest.api.v1 import answers
from firecrest.api.v1.errors import STATUS
from firecrest.api.v1.failures import NO_SERVICE, NO_SYSTEM
from firecrest.errors import UnknownSystem
from firecrest.probes import FilesystemHealth, Health, SystemHealth

endpoints = Endpoints(STATUS)


@endpoints.get("/status/services", answer=answers.Services, contract="rest-v1 §5.1")
async def services(call: Call, _: None) -> dict[str, Any]:
    """Every service with its status."""
    return {
        "description": "List of services with status and description.",
        "out": [_entry(health) for health in await _probed(call)],
    }


@endpoints.get(
    "/status/services/{servicename}",
    answer=answers.ServiceStatus,
    fails=(NO_SERVICE,),
    contract="rest-v1 §5.2",
)
async def service(call: Call, _: None) -> Any:
    """One service."""
    name = call.request.match_info["servicename"]
    for health in await _probed(call):
        if health.service == name:
            return _entry(health)
    return Reply(404, {"description": "Service does not exists", "status_code": 404})


@endpoints.get("/status/systems", answer=answers.Systems, contract="rest-v1 §5.3")
async def systems(call: Call, _: None) -> dict[str, Any]:
    """Every machine, as the caller finds it."""
    found = await call.parts.systems.all(call.user, fresh=_fresh(call))
    return {
        "description": "List of systems with status and description.",
        "out": [_system(health) for health in found],
    }


@endpoints.get(
    "/status/systems/{machinename}",
    answer=answers.OneSystem,
    fails=(NO_SYSTEM,),
    contract="rest-v1 §5.4",
)
async def system(call: Call, _: None) -> Any:
    """One machine and whether all its file systems are there."""
    probes, fresh = call.parts.systems, _fresh(call)
    try:
        named = probes.system(call.request.match_info["machinename"])
    except UnknownSystem:
        return Reply(404, {"description": "System does not exists."})
    health = await probes.one(call.user, named, fresh=fresh)
    out = _system(health)
    if health.available:
        mounted = await probes.filesystems(call.user, named, fresh=fresh)
        if lost := [str(found.filesystem.path) for found in mounted if not found.available]:
            out["description"] = f"Filesystem {','.join(lost)} is not available"
    return {"description": "System information", "out": out}


@endpoints.get("/status/filesystems", answer=answers.Filesystems, contract="rest-v1 §5.5")
async def filesystems(call: Call, _: None) -> dict[str, Any]:
    """The file systems of every machine."""
    found = await call.parts.systems.all_filesystems(call.user, fresh=_fresh(call))
    return {
        "description": "Filesystem information",
        "out": {
            name: [_filesystem(health) for health in mounted] for name, mounted in found.items()
        },
    }


@endpoints.get(
    "/status/filesystems/{machinename}",
    answer=answers.FilesystemsOfOne,
    fails=(NO_SYSTEM,),
    contract="rest-v1 §5.5",
)
async def filesystems_of(call: Call, _: None) -> Any:
    """The file systems of one machine."""
    name = call.request.match_info["machinename"]
    described = {"description": f"Filesystem information for system {name}"}
    try:
        named = call.parts.systems.system(name)
    except UnknownSystem:
        return Reply(404, {**described, "out": f"System '{name}' doesn't exist"})
    mounted = await call.parts.systems.filesystems(call.user, named, fresh=_fresh(call))
    return {**described, "out": [_filesystem(health) for health in mounted]}


@endpoints.get("/status/parameters", answer=answers.Parameters, contract="rest-v1 §5.6")
async def parameters(call: Call, _: None) -> dict[str, Any]:
    """What this installation allows, by service."""
    settings = call.parts.settings
    utilities, storage = settings.utilities, settings.storage
    mounted = [
        {"system": system.name, "mounted": [str(fs.path) for fs in system.filesystems]}
        for system in settings.systems
    ]
    out = {
        "general": [
            _parameter("FIRECREST_VERSION", settings.general.version, "", "Version of the API"),
            _parameter("FIRECREST_BUILD", settings.general.build, "", "Build of the server"),
        ],
        "compute": [
            _parameter(
                "WORKLOAD_MANAGER",
                settings.systems[0].scheduler.type,
                "",
                "Type of workload manager used in compute microservice",
            )
        ],
        "utilities": [
            _parameter(
                "UTILITIES_MAX_FILE_SIZE",
                str(utilities.max_file_size_mb),
                "MB",
                "Largest file of upload, download and view",
            ),
            _parameter(
                "UTILITIES_TIMEOUT",
                str(utilities.timeout),
                "seconds",
                "Time limit of a command",
            ),
        ],
        "storage": [
            _parameter("OBJECT_STORAGE", storage.type, "", "Type of object store"),
            _parameter(
                "STORAGE_TEMPURL_EXP_TIME",
                str(storage.tempurl_expiration),
                "seconds",
                "Life of forms, URLs and staged objects",
            ),
            _parameter(
                "STORAGE_MAX_FILE_SIZE",
                str(storage.max_file_size_mb),
                "MB",
                "Largest file of an external upload",
            ),
            _parameter("FILESYSTEMS", mounted, "", "File systems of each system"),
        ],
    }
    return {"description": "Firecrest's parameters", "out": out}


def _parameter(name: str, value: Any, unit: str, description: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "description": description}


def _fresh(call: Call) -> bool:
    return "no-cache" in call.request.headers.get("Cache-Control", "")


async def _probed(call: Call) -> list[Health]:
    return await call.parts.probes.all(fresh=_fresh(call))


def _system(health: SystemHealth) -> dict[str, Any]:
    if health.available:
        text = "System ready"
    elif health.answers:
        text = "System does not accept connections"
    else:
        text = "System down"
    return {
        "system": health.system.name,
        "status": "available" if health.available else "not available",
        "description": text,
    }


def _filesystem(health: FilesystemHealth) -> dict[str, Any]:
    return {
        "name": health.filesystem.name,
        "path": str(health.filesystem.path),
        "description": health.filesystem.description,
        "status": "available" if health.available else "not available",
        "status_code": 200 if health.available else 400,
    }


def _entry(health: Health) -> dict[str, Any]:
    if health.available:
        status, code, text = "available", 200, "server up & flask running"
    elif health.answers:
        status, code, text = "not available", 500, "server up, flask down"
    else:
        status, code, text = "not available", 400, "server down"
    return {
        "service": health.service,
        "status": status,
        "status_code": code,
        "description": text,
    }
