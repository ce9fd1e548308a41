#!/usr/bin/env python3
"""What the accounting says of the hours used, by partition and state.

    FIRECREST_URL=... FIRECREST_TOKEN=... FIRECREST_MACHINE=... used_hours.py [SINCE]

SINCE is a day, like 2026-05-01; without it, today counts. Needs nothing but Python.
"""

import json
import os
import sys
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from typing import Any

URL = os.environ["FIRECREST_URL"].rstrip("/")
HEADERS = {
    "Authorization": f"Bearer {os.environ['FIRECREST_TOKEN']}",
    "X-Machine-Name": os.environ["FIRECREST_MACHINE"],
    "Prefer": "wait=60",
}


def get(path: str, **query: str) -> Any:
    """The JSON answer to a GET."""
    url = f"{URL}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS)) as response:
        return json.load(response)


def hours(elapsed: str) -> float:
    """``[days-]HH:MM:SS`` in hours."""
    days, _, clock = elapsed.rpartition("-")
    hour, minute, second = clock.split(":")
    return 24 * int(days or 0) + int(hour) + int(minute) / 60 + float(second) / 3600


def main(since: str) -> None:
    """Print a line per partition and state."""
    receipt = get("/compute/acct", **({"starttime": since} if since else {}))
    task = get(f"/tasks/{receipt['task_id']}")["task"]
    if task["status"] != "200":
        raise SystemExit(task["data"])
    jobs: Counter[tuple[str, str]] = Counter()
    used: dict[tuple[str, str], float] = defaultdict(float)
    for job in task["data"]:
        row = (job["partition"], job["state"].split()[0])
        jobs[row] += 1
        used[row] += hours(job["cpu_time"])
    print(f"{'partition':<16}{'state':<16}{'jobs':>8}{'CPU hours':>12}")
    for partition, state in sorted(jobs):
        row = (partition, state)
        print(f"{partition:<16}{state:<16}{jobs[row]:>8}{used[row]:>12.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
