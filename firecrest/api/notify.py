"""``POST /storage/notify``: the object store tells of objects that have arrived.

For stores that can call (S3 event notifications of AWS, Ceph or MinIO). They have no token but
a secret of their own. What they say is taken as a hint to look, and nothing more.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import orjson
from aiohttp import hdrs, web

from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.http.pipeline import OPEN_PATHS
from firecrest.api.v1.external import copy_staged
from firecrest.errors import FirecrestError, StaleTask, TaskNotFound
from firecrest.model.tasks import Kind, Status

_log = logging.getLogger(__name__)

_PATH = "/storage/notify"
_MAX_BODY = 1024 * 1024


def add_routes(app: web.Application) -> None:
    """Take notifications."""
    app.router.add_post(_PATH, notify)
    app[OPEN_PATHS] |= {_PATH}


async def notify(request: web.Request) -> web.Response:
    """Begin the copy of each object named that belongs to a waiting upload.

    204 whatever becomes of it, because the store would repeat what it cannot change; 401
    without the secret; 400 for what is no notification.
    """
    parts = request.app[PARTS]
    secret = parts.settings.storage.notify_secret.reveal().encode()
    if not hmac.compare_digest(_presented(request).encode(), secret):
        return web.json_response({"message": "Unauthorized"}, status=401)
    body = await request.content.read(_MAX_BODY + 1)
    while len(body) <= _MAX_BODY and (more := await request.content.read(_MAX_BODY)):
        body += more
    try:
        if len(body) > _MAX_BODY:
            raise ValueError("too long")
        names = list(_objects(orjson.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return web.json_response({"error": "Not a notification of the store"}, status=400)
    for name in names:
        await _arrived(parts, name)
    return web.Response(status=204)


def _presented(request: web.Request) -> str:
    """The secret as a bearer token, or in the query for stores that can send no header."""
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    return header.removeprefix("Bearer ") if header else request.query.get("secret", "")


def _objects(event: Any) -> Iterator[str]:
    """The names of new objects, ``<task id>/<base name>``."""
    for record in event["Records"]:
        if "ObjectCreated" in record["eventName"]:
            yield unquote_plus(record["s3"]["object"]["key"])


async def _arrived(parts: Parts, name: str) -> None:
    task_id = name.partition("/")[0]
    try:
        user = await parts.tasks.owner(task_id)
        if user is None:
            return
        task = await parts.tasks.load(user, task_id)
        if task.kind is Kind.UPLOAD and task.status is Status.FORM_READY:
            await copy_staged(parts, task)
    except (StaleTask, TaskNotFound):
        pass  # somebody else was faster
    except FirecrestError as error:
        _log.warning("object %s is left to the next look: %s", task_id, error)
