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


async def _probed(call: Call) -> list[Health]:
    fresh = "no-cache" in call.request.headers.get("Cache-Control", "")
    return await call.parts.probes.all(fresh=fresh)


def _entry(health: Health) -> dict[str, Any]:
    if health.available:
        status, code, text = "available", 200, "server up & flask running"
    else:
        status, code, text = "not available", 400, "server down"
    return {
        "service": health.service,
        "status": status,
        "status_code": code,
        "description": text,
    }
