"""Uses a client that was generated from the API's description: runs in an environment of its own.

It submits a job, waits for it, and prints what the task and the accounting say.
"""

import importlib
import io
import json
import sys
import time
from typing import Any

SCRIPT = b"#!/bin/bash\n#SBATCH --job-name=generated\necho generated\n"
MACHINE = "cluster"
PATIENCE = 80.0


class Generated:
    """The package, of which nothing is known before it is generated."""

    def __init__(self, url: str, token: str) -> None:
        cls = importlib.import_module("generated").AuthenticatedClient
        self._client = cls(base_url=url, token=token, raise_on_unexpected_status=True)

    def call(self, operation: str, *args: Any, **options: Any) -> Any:
        """What an operation answers, ``compute.get_compute_acct`` for example."""
        module = importlib.import_module(f"generated.api.{operation}")
        return module.sync(*args, client=self._client, **options)

    def finished(self, receipt: Any) -> Any:
        """The data of a task, once it is finished."""
        for _ in range(10):
            found = self.call("tasks.get_tasks_by_task_id", receipt.task_id, prefer="wait=20").task
            if found.status >= "200":
                if found.status != "200":
                    raise RuntimeError(f"{found.status}: {found.data}")
                return found.data
        raise RuntimeError("the task does not end")


def main() -> None:
    url, token = sys.argv[1:]
    api = Generated(url, token)
    models, types = (importlib.import_module(f"generated.{name}") for name in ("models", "types"))
    body = models.PostComputeJobsUploadBody(
        file=types.File(payload=io.BytesIO(SCRIPT), file_name="generated.sh")
    )
    receipt = api.call("compute.post_compute_jobs_upload", body=body, x_machine_name=MACHINE)
    job = api.finished(receipt)
    rows: list[Any] = []
    deadline = time.monotonic() + PATIENCE
    # the accounting knows the end of a short job before its name
    while not (rows and rows[0]["state"] == "COMPLETED" and rows[0]["name"] != "allocation"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the accounting says {rows}")
        asked = api.call("compute.get_compute_acct", jobs=str(job["jobid"]), x_machine_name=MACHINE)
        rows = api.finished(asked) or []
    refused = api.call("utilities.get_utilities_ls", target_path="/nowhere", x_machine_name=MACHINE)
    told = {
        "parameters": api.call("status.get_status_parameters").to_dict(),
        "job": job,
        "rows": rows,
        "refused": refused.to_dict(),
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
