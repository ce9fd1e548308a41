"""What is asked of the object store, seen from outside: counted, timed and traced."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans
from firecrest.telemetry.trace import outgoing


def watch(client: Any, metrics: Metrics, spans: Spans) -> None:
    """Watch the calls of a client; signing is none.

    The library has events for the beginning and the end of a call, but none for the end of
    one that is cancelled. Hence its one method through which all of them go.
    """
    call = client._make_api_call  # noqa: SLF001

    async def watched(operation: str, params: Any) -> Any:
        with (
            metrics.s3_call(operation) as refused,
            spans.asked(f"S3 {operation}"),
        ):
            try:
                return await call(operation, params)
            except ClientError:
                refused()
                raise

    client._make_api_call = watched  # noqa: SLF001
    client.meta.events.register("before-send.s3", _tell)


def _tell(request: Any, **_: Any) -> None:
    # after signing: a proxy on the way may change it
    for name, value in outgoing().items():
        request.headers[name] = value
