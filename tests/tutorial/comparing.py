"""An answer beside the printed one, key by key.

Every printed key must be there, with a value of the same type; the same value, where it does
not depend on the moment. A key that is not printed must be one that later clients need.
"""

from __future__ import annotations

import re
from typing import Any

#: Values that no two runs have in common: what they must look like instead.
VARYING = {
    "hash_id": r"[0-9a-f]{32}",
    "task_id": r"[0-9a-f]{32}",
    "task_url": r"http://[^/]+/tasks/[0-9a-f]{32}",
    "last_modify": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "last_modified": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "jobid": r"\d+",
    "nodelist": r".+",
    "start_time": r"[\d:T-]+",
    "time": r"[\d:T-]+",
    "time_left": r"[\d:T-]+",
    "key": r"[0-9a-f]{32}/file",
    "policy": r"[A-Za-z0-9+/=]+",
    "x-amz-credential": r"[^/]+/\d{8}/[^/]+/s3/aws4_request",
    "x-amz-date": r"\d{8}T\d{6}Z",
    "x-amz-signature": r"[0-9a-f]{64}",
    # the size of a directory is the file system's
    "size": r"\d+",
}

#: Keys that are not printed, by the row of rest-v1 §13 that adds them.
ADDED = {
    "D2": {"status_code"},
    "D4, D8": {"description", "output"},
    "D5": {"error"},
    "D13": {
        "job_file",
        "job_file_out",
        "job_file_err",
        "job_data_out",
        "job_data_err",
        "job_info_extra",
    },
    "D15": {"cpu_time", "elapsed_time", "termination_time", "exit_code"},
    "D16": {"task_id", "created_at", "updated_at", "system"},
    "D19": {"parameters"},
    "D20": {"system_name", "system_addr"},
    "D21": {"target_path"},
    # of later versions, in the data of an upload (tasks §4.1)
    "V1": {"status", "trace_id", "progress"},
}
_ADDED = set().union(*ADDED.values())


def compare(printed: Any, answer: Any, where: str = "") -> None:
    """Fail where an answer is not as it is printed."""
    assert type(printed) is type(answer), f"{where}: {answer!r} instead of {printed!r}"
    if isinstance(printed, dict):
        assert printed.keys() <= answer.keys(), f"{where}: {printed.keys() - answer.keys()} missing"
        added = answer.keys() - printed.keys() - _ADDED
        assert not added, f"{where}: {added} not printed"
        for key, value in printed.items():
            compare(value, answer[key], f"{where}.{key}")
    elif isinstance(printed, list):
        assert len(printed) == len(answer), f"{where}: {len(answer)} instead of {len(printed)}"
        for number, (value, other) in enumerate(zip(printed, answer, strict=True)):
            compare(value, other, f"{where}[{number}]")
    else:
        pattern = VARYING.get(where.rpartition(".")[2])
        if pattern:
            assert re.fullmatch(pattern, str(answer)), f"{where}: {answer!r}"
        else:
            assert printed == answer, where
