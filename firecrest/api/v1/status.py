"""`/status` (Contract: rest-v1 §5)."""

from __future__ import annotations

from typing import Any

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Reply
from firecrest.api.v1.errors import STATUS
from firecrest.probes import Health

endpoints = Endpoints(STATUS)


@endpoints.get("/status/services", contract="rest-v1 §5.1")
async def services(call: Call, _: None) -> dict[str, Any]:
    """Every service with its status."""
    return {
        "description": "List of services with status and description.",
        "out": [_entry(health) for health in await _probed(call)],
    }


@endpoints.get("/status/services/{servicename}", contract="rest-v1 §5.2")
async def service(call: Call, _: None) -> Any:
    """One service."""
    name = call.request.match_info["servicename"]
    for health in await _probed(call):
        if health.service == name:
            return _entry(health)
    return Reply(404, {"description": "Service does not exists", "status_code": 404})


@endpoints.get("/status/parameters", contract="rest-v1 §5.6")
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


async def _probed(call: Call) -> list[Health]:
    fresh = "no-cache" in call.request.headers.get("Cache-Control", "")
    return await call.parts.probes.all(fresh=fresh)


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
