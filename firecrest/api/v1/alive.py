"""The sign of life of each service (Contract: rest-v1 §12)."""

from __future__ import annotations

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Endpoints, Family
from firecrest.api.v1.answers import Ack
from firecrest.api.v1.errors import RESERVATIONS, TASKS

# of all services a machine is named by none here
compute = Endpoints(Family(name="compute"))
utilities = Endpoints(Family(name="utilities"))
storage = Endpoints(Family(name="storage"))
tasks = Endpoints(TASKS)
reservations = Endpoints(RESERVATIONS)


@compute.get("/compute/status", answer=Ack, contract="rest-v1 §12")
@utilities.get("/utilities/status", answer=Ack, contract="rest-v1 §12")
@storage.get("/storage/status", answer=Ack, contract="rest-v1 §12")
@tasks.get("/tasks/status", answer=Ack, contract="rest-v1 §12")
@reservations.get("/reservations/status", answer=Ack, contract="rest-v1 §12")
async def status(_: Call, __: None) -> dict[str, str]:
    """Tell that the service answers."""
    return {"success": "ack"}


endpoints = (*compute, *utilities, *storage, *tasks, *reservations)
