"""Names of what Redis holds of tasks; those of their events are in ``events/log``.

===========================  =======  ====================================================
key                          type     holds
===========================  =======  ====================================================
``fc:{user}:tasks``          hash     task id → document: what clients see
``fc:{user}:ends``           zset     task id → end of its life, of those not finished
``fc:{user}:ended``          zset     task id → end of its life, of those that are finished
``fc:{user}:sizes``          hash     task id → bytes of document and blob; ``all``: their sum
``fc:{user}:work:<id>``      hash     what the engine needs: ``status``, ``version``,
                                      ``fence`` (who may write), ``kind``, ``system``,
                                      ``spec`` (what to do), ``blob`` (script),
                                      ``checkpoint`` (how far inside a state), ``trace``,
                                      ``origin`` (whose request made it)
``fc:{user}:events``         stream   every transition; entry ids are the public event ids
``fc:{user}:marks``          hash     what outlives the log: its ``last`` id, and the last id
                                      that was ``lost``
``fc:{user}:idem:<digest>``  string   receipt of a request with an Idempotency-Key:
                                      task id, digest of the request
``fc:owner:<id>``            string   the user: tells 403 from 404
``fc:due``                   zset     ``<user>/<id>`` → end of the lease, or next look
``fc:bell:<db>:{user}``      channel  "there is a new event", and if it is small, which
===========================  =======  ====================================================
"""

from __future__ import annotations

from firecrest.events.log import documents_key, log_key, marks_key
from firecrest.model.tasks import Task


def record_keys(task: Task) -> list[str]:
    """The keys of record.lua; the hash tag puts them in one slot."""
    return [
        work_key(task),
        documents_key(task.user),
        f"fc:{{{task.user}}}:ends",
        log_key(task.user),
        marks_key(task.user),
        sizes_key(task.user),
        f"fc:{{{task.user}}}:ended",
    ]


def work_key(task: Task) -> str:
    """What its owner needs to work on it."""
    return f"fc:{{{task.user}}}:work:{task.id}"


def sizes_key(user: str) -> str:
    """How many bytes each of the user's tasks takes."""
    return f"fc:{{{user}}}:sizes"


def owner_key(task_id: str) -> str:
    """Whose task it is; in a slot of its own, because only the id is known."""
    return f"fc:owner:{task_id}"


def receipt_key(user: str, digest: str) -> str:
    """What a request with an ``Idempotency-Key`` has made."""
    return f"fc:{{{user}}}:idem:{digest}"
