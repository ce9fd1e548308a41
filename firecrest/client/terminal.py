"""Following tasks and jobs in a terminal, for people and for scripts that wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import orjson
from msgspec import Struct, field

from firecrest.client.stream import Message, Refused, Stream

_STREAMS = ("stdout", "stderr")


class Wanted(Struct, frozen=True, kw_only=True):
    """What to follow; neither tasks nor jobs means all tasks, until interrupted.

    :param jobs: pairs of system and job id
    :param output: whether also to show what the jobs write
    """

    tasks: tuple[str, ...] = ()
    jobs: tuple[tuple[str, str], ...] = ()
    output: bool = False

    @property
    def everything(self) -> bool:
        return not (self.tasks or self.jobs)


class _Output(Struct):
    """How much of a stream of a job was shown: ``shown`` characters after byte ``offset``.

    :ivar resumed: the next piece is the first one after a cut
    """

    offset: int = 0
    shown: int = 0
    resumed: bool = False
    ended: bool = False


class Watch(Struct, kw_only=True):
    """Follows what is wanted until all of it has ended.

    :param say: prints a line of the report
    :param remark: prints a line about the connection, beside the report
    :param write: writes a piece of a job's output: name of the stream, text
    :param as_json: print the messages as they come instead
    """

    wanted: Wanted
    say: Callable[[str], None]
    remark: Callable[[str], None]
    write: Callable[[str, str], None]
    as_json: bool = False
    _statuses: dict[str, str] = field(default_factory=dict)
    _jobs: dict[tuple[str, str], str] = field(default_factory=dict)
    _ended: dict[object, bool] = field(default_factory=dict)
    _outputs: dict[tuple[str, str, str], _Output] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.wanted.output:
            for system, job_id in self.wanted.jobs:
                for name in _STREAMS:
                    self._outputs[system, job_id, name] = _Output()

    async def run(self, url: str, token: Callable[[], str], since: str = "") -> bool:
        """Follow; True if everything that was wanted ended well.

        :raises Refused: the gateway does not want this client, or not what it asks for
        """
        stream = Stream(url, token, self._subscriptions, since)
        async with aclosing(stream.messages()) as messages:
            async for message in messages:
                self._take(message)
                if self._complete:
                    break
        return all(self._ended.values())

    def _subscriptions(self) -> list[Message]:
        wanted = self.wanted
        if wanted.everything:
            return [{"tasks": "*"}]
        asked: list[Message] = [{"tasks": list(wanted.tasks)}] if wanted.tasks else []
        for system in sorted({system for system, _ in wanted.jobs}):
            ids = [job_id for where, job_id in wanted.jobs if where == system]
            asked.append({"jobs": {"system": system, "ids": ids}})
        for (system, job_id, name), output in self._outputs.items():
            if not output.ended:
                where = {"system": system, "jobid": job_id, "stream": name}
                asked.append({"output": {**where, "offset": output.offset}})
        return asked

    @property
    def _complete(self) -> bool:
        if self.wanted.everything:
            return False
        things: set[object] = {*self.wanted.tasks, *self.wanted.jobs}
        return things <= self._ended.keys() and all(out.ended for out in self._outputs.values())

    def _take(self, message: Message) -> None:
        match message["event"]:
            case "task":
                self._task(message)
            case "job":
                self._job(message)
            case "output":
                self._output(message)
            case "error":
                raise Refused(message["error"])
            case "hello":
                self.remark(f"(connected as {message['user']})")
            case "subscribed" if message["ref"] == 0:
                self.remark("(following)")
            case "cut":
                for output in self._outputs.values():
                    output.resumed = True
                self.remark(f"(connection lost: {message['reason']}; trying again)")
            case "gap":
                self.remark(f"(events between {message['since']} and {message['oldest']} are lost)")
            case _:
                pass  # further subscriptions: nothing to report

    def _task(self, message: Message) -> None:
        task = message["task"]
        task_id, status = task["hash_id"], task["status"]
        if not self.wanted.everything and task_id not in self.wanted.tasks:
            return  # a replay brings every event of the user
        if self._statuses.get(task_id) == status:
            return  # told by the subscription and by the replay
        self._statuses[task_id] = status
        if status >= "200" or status in ("114", "115", "117", "118"):
            self._ended[task_id] = status in ("114", "117", "200")
        if self.as_json:
            self.say(orjson.dumps(message).decode())
            return
        data = task["data"]
        more = data if isinstance(data, str) and data != task["description"] else ""
        if isinstance(data, dict) and "jobid" in data:
            more = f"job {data['jobid']}"
        words = f"{task['updated_at']}  task {task_id}  {task['service']} on {task['system']}"
        self.say(f"{words}: {status} {task['description']}{f' ({more})' if more else ''}")

    def _job(self, message: Message) -> None:
        where = (message["system"], message["jobid"])
        if where not in self.wanted.jobs or self._jobs.get(where) == message["state"]:
            return
        self._jobs[where] = message["state"]
        if message["final"]:
            self._ended[where] = message["state"] == "COMPLETED"
        if self.as_json:
            self.say(orjson.dumps(message).decode())
            return
        code: Any = message["job"].get("exit_code") if message["final"] else None
        end = f", exit code {code}" if code else ""
        self.say(f"job {message['jobid']} on {message['system']}: {message['state']}{end}")

    def _output(self, message: Message) -> None:
        """Show a piece; of streams that are one file those of stdout."""
        output = self._outputs[message["system"], message["jobid"], message["stream"]]
        text = message["data"]
        # after a cut the last piece comes again, perhaps with more behind it
        again = output.resumed and message["offset"] == output.offset
        fresh = text[output.shown :] if again else text
        output.offset, output.shown = message["offset"], len(text)
        output.resumed, output.ended = False, message["eof"]
        if self.as_json:
            if fresh or output.ended:
                self.say(orjson.dumps(message).decode())
        elif fresh and not (message["merged"] and message["stream"] == "stderr"):
            self.write(message["stream"], fresh)
