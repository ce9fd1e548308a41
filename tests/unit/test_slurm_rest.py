"""What Slurm's REST daemon says, read and asked; recorded shapes of v0.0.38 and later ones."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

import jwt
import pytest
from aiohttp import web

from firecrest.commands.base import Command
from firecrest.config.settings import Scheduler as Settings
from firecrest.errors import CommandFailed, ConfigError, Fault, SchedulerRefused
from firecrest.model.inventory import Partition
from firecrest.scheduler import slurm_json
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_answer import read
from firecrest.scheduler.slurm_names import Asked, base, expand_hosts
from firecrest.scheduler.slurm_rest import Daemon, SlurmRest, create
from firecrest.scheduler.slurm_scontrol import ScontrolShowPartitions
from firecrest.schema import load
from firecrest.turns import Pieces, at_once
from tests.harness.unseen import Unseen

T = TypeVar("T")

KEY = b"0123456789abcdef0123456789abcdef\n"

JOB: dict[str, Any] = {
    "job_id": 12,
    "array_job_id": 0,
    "array_task_id": None,
    "array_task_string": "",
    "het_job_id": 0,
    "het_job_offset": 0,
    "name": "a|b",
    "user_name": "alice",
    "job_state": "PENDING",
    "state_reason": "JobHeldUser",
    "nodes": "",
    "node_count": 2,
    "start_time": 0,
    "time_limit": 30,
    "partition": "part01",
    "command": "/d/run.sh",
    "standard_output": "",
    "standard_error": "/d/e-%j",
    "current_working_directory": "/d",
}


class TestReading:
    def test_a_job_that_waits(self) -> None:
        job = slurm_json.queued_job(JOB)
        assert (job.job_id, job.name, job.state, job.nodes) == ("12", "a|b", "PENDING", "2")
        assert (job.elapsed, job.start, job.time_left) == ("0:00", "N/A", "30:00")
        assert job.reason_or_nodes == "(JobHeldUser)"
        assert job.details
        assert (job.details.stdout, job.details.stderr) == ("/d/slurm-12.out", "/d/e-12")

    def test_numbers_and_states_of_later_versions(self) -> None:
        def wrapped(value: int, *, known: bool = True) -> dict[str, Any]:
            return {"set": known, "infinite": False, "number": value}

        later = {
            **JOB,
            "job_state": ["PENDING"],
            "array_job_id": wrapped(0),
            "node_count": wrapped(2),
            "start_time": wrapped(99, known=False),
            "time_limit": wrapped(30),
        }
        assert slurm_json.queued_job(later) == slurm_json.queued_job(JOB)

    # What PARSER_FLAG_ARRAY(JOB_STATE) of v0.0.40 lists is what job_state_string chooses from.
    @pytest.mark.parametrize(
        ("states", "state"),
        [
            (["RUNNING"], "RUNNING"),
            (["COMPLETED", "COMPLETING"], "COMPLETING"),
            (["RUNNING", "CONFIGURING"], "CONFIGURING"),
            (["PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT"], "REQUEUE_HOLD"),
        ],
    )
    def test_flags_of_a_state_are_told_as_squeue_does(self, states: list[str], state: str) -> None:
        assert slurm_json.word(states) == state
        assert slurm_json.is_queued(state)

    def test_a_description_says_more_than_a_reason(self) -> None:
        words = "ReqNodeNotAvail, UnavailableNodes:n1"
        job = slurm_json.queued_job({**JOB, "state_description": words})
        assert job.reason_or_nodes == f"({words})"

    def test_the_job_id_of_a_federation(self) -> None:
        job = slurm_json.queued_job({**JOB, "job_id": 134217735, "array_job_id": 134217733})
        assert job.job_id == "134217733_0"

    @pytest.mark.parametrize(
        ("changes", "job_id", "output"),
        [
            ({"array_job_id": 31, "array_task_id": 7}, "31_7", "/d/slurm-31_7.out"),
            (
                {"array_job_id": 31, "array_task_string": "8-9%1"},
                "31_[8-9%1]",
                "/d/slurm-31_%a.out",
            ),
            ({"het_job_id": 11, "het_job_offset": 1}, "11+1", "/d/slurm-12.out"),
        ],
    )
    def test_parts_of_jobs(self, changes: dict[str, Any], job_id: str, output: str) -> None:
        details = slurm_json.job_details({**JOB, **changes})
        assert (details.job_id, details.stdout) == (job_id, output)

    def test_nodes(self) -> None:
        row = {"name": "n1", "active_features": "a,b", "partitions": ["p"], "state": "mixed"}
        found = slurm_json.node({**row, "state_flags": ["DRAIN"]})
        assert (found.features, found.state) == (("a", "b"), ("MIXED", "DRAIN"))
        assert slurm_json.node({**row, "state": ["IDLE", "DRAIN"]}).state == ("IDLE", "DRAIN")
        assert slurm_json.node({"name": "n", "state": "down"}).partitions is None

    @pytest.mark.parametrize(
        ("seconds", "text"), [(5, "0:05"), (3665, "1:01:05"), (93784, "1-02:03:04"), (-3, "0:00")]
    )
    def test_durations(self, seconds: int, text: str) -> None:
        assert slurm_json.brief(seconds) == text


class TestNames:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("n1", ["n1"]),
            ("n1,m[2-3,7]", ["n1", "m2", "m3", "m7"]),
            ("n[08-10]x,y", ["n08x", "n09x", "n10x", "y"]),
            ("n[1-999999999]", ["n[1-999999999]"]),
            ("n[0-99999,0-9],m1", ["n[0-99999,0-9]", "m1"]),
            (f"n[{'9' * 5000}]", [f"n[{'9' * 5000}]"]),
            ("n[1-2-3]", ["n[1-2-3]"]),
            ("n[3-1]", []),
            (f"n[1-{'9' * 5000}]", [f"n[1-{'9' * 5000}]"]),
            ("n[", ["n["]),
        ],
    )
    def test_hosts(self, names: str, expected: list[str]) -> None:
        assert list(expand_hosts(names)) == expected

    def test_parts(self) -> None:
        assert [base(text) for text in ("31", "31_7", "31_[8-9]", "31+1")] == ["31"] * 4

    @pytest.mark.parametrize(
        ("asked", "row", "found"),
        [
            ("31", "31", {"31"}),
            ("31", "31_7", {"31"}),
            ("31", "31+1", {"31"}),
            ("31", "31_[7-9%2]", {"31"}),
            ("31_7", "31_7", {"31_7"}),
            ("31_8", "31_[7-9]", {"31_8"}),
            ("31_8", "31_[1,8-9%1]", {"31_8"}),
            ("31_x", "31_[7-9]", set()),
            ("31_8", "31_[2-9:3]", {"31_8"}),
            ("31_[7-9]", "31_7", {"31"}),
            ("31+1", "31+1", {"31+1"}),
            ("31_8", "31_7", set()),
            ("31_6", "31_[7-9]", set()),
            ("31_2", "31_[7-9%2]", set()),
            ("31_7", "31_[2-9:3]", set()),
            ("31+1", "31+0", set()),
            ("31", "3", set()),
            ("3", "31_3", set()),
        ],
    )
    def test_which_of_the_ids_a_row_belongs_to(self, asked: str, row: str, found: set[str]) -> None:
        assert Asked([asked, "4", "5_7"]).of(row) == found
        assert not found or Asked.meant(asked) in found


class Answering:
    """A daemon that says what it is told to."""

    def __init__(self) -> None:
        self.answer = web.json_response({"jobs": []})
        self.asked: list[web.Request] = []
        self.peers: set[Any] = set()
        self.respond: Callable[[web.Request], Awaitable[web.Response]] = self._told
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        assert request.transport
        self.peers.add(request.transport.get_extra_info("peername"))
        return await self.respond(request)

    async def _told(self, request: web.Request) -> web.Response:
        return self.answer


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    made = Answering()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


Reach = Callable[[str], Daemon]


@pytest.fixture
async def reach() -> AsyncIterator[Reach]:
    """A daemon at a URL, closed at the end."""
    async with AsyncExitStack() as stack:

        def make(url: str) -> Daemon:
            daemon = Daemon(url, KEY, 30)
            stack.push_async_callback(daemon.aclose)
            return daemon

        yield make


async def ask(daemon: Daemon, user: str = "alice") -> list[dict[str, Any]]:
    """Its rows of ``/jobs``."""
    return at_once(read(*await daemon.ask(user, "/jobs"), "jobs", dict))


class TestDaemon:
    async def test_it_is_asked_in_the_name_of_the_user(
        self, answering: Answering, reach: Reach
    ) -> None:
        daemon = reach(f"{answering.url}/slurm/v0.0.38")
        assert await ask(daemon) == []
        (request,) = answering.asked
        assert request.path == "/slurm/v0.0.38/jobs"
        assert request.headers["X-SLURM-USER-NAME"] == "alice"
        token = request.headers["X-SLURM-USER-TOKEN"]
        claims = jwt.decode(token, KEY, algorithms=["HS256"])
        assert set(claims) == {"sun", "iat", "exp"}
        assert claims["sun"] == "alice"
        assert claims["exp"] - claims["iat"] == 30
        assert KEY.decode() not in repr(daemon)

    @pytest.mark.parametrize(
        ("status", "body", "words"),
        [
            (500, '{"errors": [{"error": "no", "error_number": 1}]}', "no"),
            (500, '{"errors": [{"description": "why", "errno": 2}]}', "why"),
            (200, '{"errors": [{"errno": 3}], "jobs": []}', "error 3"),
            (
                500,
                '{"errors": [{"error": "Unspecified error", "errno": -1}]}',
                "Slurm's REST daemon got no answer from slurmctld (Unspecified error)",
            ),
            (503, "{}", "Slurm's REST daemon answered with status 503"),
            (
                400,
                "<html>",
                "Slurm's REST daemon gave no answer that could be read (status 400)",
            ),
            *(
                (200, text, "Slurm's REST daemon gave no answer that could be read (status 200)")
                for text in ("", "[]", "{", '{"jobs": [', '{"jobs": [{}}', '{"jobs": [{} {}]}')
            ),
        ],
    )
    async def test_what_it_refuses_is_told(
        self, answering: Answering, reach: Reach, status: int, body: str, words: str
    ) -> None:
        answering.answer = web.Response(status=status, text=body)
        with pytest.raises(SchedulerRefused) as raised:
            await ask(reach(answering.url))
        assert raised.value.message == words

    async def test_a_name_that_is_no_text_spoils_no_list(
        self, answering: Answering, reach: Reach
    ) -> None:
        answering.answer = web.Response(body=b'{"jobs": [{"name": "caf\xe9"}]}')
        assert await ask(reach(answering.url)) == [{"name": "caf\N{REPLACEMENT CHARACTER}"}]

    async def test_what_surrounds_the_rows_is_passed_over(
        self, answering: Answering, reach: Reach
    ) -> None:
        rows = [{"name": "ü,]}", "n": [1, {"jobs": [2]}]}, {"name": '"jobs": ['}]
        meta = {"jobs": [3], "errors": ["none"]}
        answering.answer = web.json_response(
            {"meta": meta, "errors": [], "jobs": rows, "last": None},
            dumps=lambda answer: json.dumps(answer, ensure_ascii=False, indent=1),
        )
        assert await ask(reach(answering.url)) == rows

    async def test_an_endless_answer_is_not_read_to_its_end(
        self, answering: Answering, reach: Reach, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("firecrest.scheduler.slurm_rest._MOST", 1000)
        answering.answer = web.Response(text=" " * 1001)
        with pytest.raises(CommandFailed) as raised:
            await ask(reach(answering.url))
        assert raised.value.fault is Fault.OUTPUT_LIMIT
        assert raised.value.message == "Command output exceeded buffer limit (1000)"

    async def test_one_that_is_not_there_is_told(self, reach: Reach) -> None:
        with pytest.raises(SchedulerRefused, match="cannot be reached"):
            await ask(reach("http://127.0.0.1:1"))

    async def test_users_share_connections_but_no_name(
        self, answering: Answering, reach: Reach
    ) -> None:
        answering.answer.set_cookie("session", "alice's")
        daemon = reach(answering.url)
        for user in ("alice", "bob", "alice"):
            await ask(daemon, user)
            answering.answer = web.json_response({"jobs": []})
        assert [request.headers["X-SLURM-USER-NAME"] for request in answering.asked] == [
            *("alice", "bob", "alice")
        ]
        assert {request.headers.get("Cookie") for request in answering.asked} == {None}
        assert len(answering.peers) == 1

    async def test_a_closed_one_keeps_nothing_and_can_be_asked_again(
        self, answering: Answering, reach: Reach
    ) -> None:
        daemon = reach(answering.url)
        for _ in range(2):
            assert await ask(daemon) == []
            await daemon.aclose()
            answering.answer = web.json_response({"jobs": []})
        assert len(answering.peers) == 2

    async def test_a_token_follows_no_redirection(self, answering: Answering, reach: Reach) -> None:
        answering.answer = web.Response(status=302, headers={"Location": f"{answering.url}/other"})
        with pytest.raises(SchedulerRefused):
            await ask(reach(answering.url))
        assert len(answering.asked) == 1


class Asking(Unseen):
    """A user whose commands are not run, but written down."""

    user = "alice"

    def __init__(self) -> None:
        self.ran: list[type] = []
        self.pieces = 0

    async def compute(self, work: Pieces[T]) -> T:
        def counted() -> Pieces[T]:
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    return cast(T, end.value)
                self.pieces += 1
                yield

        return at_once(counted())

    async def run(self, command: Command[T]) -> T:
        self.ran.append(type(command))
        return command.parse(b"PartitionName=p State=UP TotalCPUs=8 TotalNodes=2 Default=YES\n")


@pytest.fixture
def rest(answering: Answering, reach: Reach) -> SlurmRest:
    return SlurmRest(Slurm(), reach(answering.url))


class TestPartitions:
    """Shapes of what ``PARSER_ARRAY(PARTITION_INFO)`` of each data_parser plugin makes."""

    expected = Partition(name="p", state="UP", total_cpus="8", total_nodes="2", default="YES")

    @pytest.mark.parametrize(
        "row",
        [
            {"state": "UP", "total_cpus": 8, "total_nodes": 2, "flags": ["default"]},
            {
                "partition": {"state": ["UP"]},
                "cpus": {"total": 8, "task_binding": 0},
                "nodes": {"total": 2, "configured": "n[1-2]"},
                "flags": ["DEFAULT"],
            },
        ],
        ids=["v0.0.38", "v0.0.45"],
    )
    async def test_the_daemon_tells_all(
        self, answering: Answering, rest: SlurmRest, row: dict[str, Any]
    ) -> None:
        answering.answer = web.json_response({"partitions": [{"name": "p", **row}]})
        on = Asking()
        assert await rest.partitions(on) == [self.expected]
        assert on.ran == []

    async def test_what_it_does_not_tell_is_asked_of_scontrol(
        self, answering: Answering, rest: SlurmRest
    ) -> None:
        row = {"name": "p", "cpus": {"total": 8}, "nodes": {"total": 2}}  # v0.0.39
        answering.answer = web.json_response({"partitions": [row]})
        on = Asking()
        assert await rest.partitions(on) == [self.expected]
        assert on.ran == [ScontrolShowPartitions]


#: Tasks of an array. To compare each with each id that is asked for takes many minutes.
MANY = 10_000


def array(tasks: int, state: str = "RUNNING") -> list[dict[str, Any]]:
    """Rows of the tasks of job 31."""
    row = {**JOB, "array_job_id": 31, "job_state": state}
    return [{**row, "array_task_id": task} for task in range(tasks)]


@pytest.mark.timeout(60)
class TestManyIds:
    """However many are asked for, each row is looked at once, and the loop goes on meanwhile."""

    async def test_of_a_list(self, answering: Answering, rest: SlurmRest) -> None:
        waiting = {**JOB, "array_job_id": 31, "array_task_string": f"{MANY}-{2 * MANY}"}
        answering.answer = web.json_response({"jobs": [*array(MANY), {**JOB}, waiting]})
        on = Asking()
        wanted = tuple(f"31_{task}" for task in range(1, 2 * MANY, 2))
        jobs = await rest.queue(on, user="alice", job_ids=wanted)
        assert [job.job_id for job in jobs] == [
            *(f"31_{task}" for task in range(1, MANY, 2)),
            f"31_[{MANY}-{2 * MANY}]",
        ]
        assert on.pieces > MANY

    async def test_of_a_list_that_repeats_them(self, answering: Answering, rest: SlurmRest) -> None:
        answering.answer = web.json_response({"jobs": array(MANY)})
        assert await rest.queue(Asking(), user="alice", job_ids=("30", "1") * MANY) == []

    async def test_of_nodes(self, answering: Answering, rest: SlurmRest) -> None:
        answering.answer = web.json_response({"nodes": [{"name": "n1", "state": "IDLE"}]})
        nodes = await rest.nodes(Asking(), ",".join(["n[1-1]"] * 1000))
        assert [node.name for node in nodes] == ["n1"]
        answering.answer = web.json_response({"nodes": [{"name": "n1", "state": "IDLE"}]})
        with pytest.raises(SchedulerRefused, match="Node n2 not found"):
            await rest.nodes(Asking(), ",".join(["n[1-100000]"] * 1000))

    async def test_that_are_cancelled(self, answering: Answering, rest: SlurmRest) -> None:
        """Few requests at a time, for the connections are everybody's."""
        at_once, most = 0, 0

        async def respond(request: web.Request) -> web.Response:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            rows = array(100) if request.path == "/job/31" else [{**JOB}]
            number = request.path.rpartition("/")[2]
            if "_" not in number and number != "31":
                rows[0]["job_id"] = int(number)
            return web.json_response({"jobs": rows})

        answering.respond = respond
        job_ids = (*(str(number) for number in range(100, 200)), *(f"31_{n}" for n in range(100)))
        said = await rest.cancel(Asking(), (*job_ids, *job_ids))
        assert said.split("scancel: Terminating job ")[1:3] == ["100 ", "101 "]
        asked = [(request.method, request.path) for request in answering.asked]
        assert sorted(path for method, path in asked if method == "DELETE") == sorted(
            f"/job/{job_id}" for job_id in job_ids
        )
        assert sum(method == "GET" for method, _ in asked) == 101
        assert 1 < most <= 8

    async def test_of_which_some_cannot_be_cancelled(
        self, answering: Answering, rest: SlurmRest
    ) -> None:
        async def respond(request: web.Request) -> web.Response:
            rows = array(3)
            rows[1]["job_state"] = "COMPLETED"
            return web.json_response({"jobs": rows})

        answering.respond = respond
        with pytest.raises(SchedulerRefused) as raised:
            await rest.cancel(Asking(), ("31_1", "31_2", "9", "31_7"))
        assert raised.value.message == (
            "Kill job error on job id 31_1: Job/step already completing or completed"
            " Kill job error on job id 9: Invalid job id specified"
            " Kill job error on job id 31_7: Invalid job id specified"
        )
        assert [r.path for r in answering.asked if r.method == "DELETE"] == ["/job/31_2"]


class TestCancelling:
    """A request whose connection ends before the answer is repeated."""

    OVER = "Job/step already completing or completed"

    @pytest.mark.parametrize("later", ["CANCELLED", "COMPLETING", "COMPLETED"])
    async def test_a_job_that_was_cancelled_the_first_time(
        self, answering: Answering, rest: SlurmRest, later: str
    ) -> None:
        states = ["RUNNING", later]

        async def respond(request: web.Request) -> web.Response:
            if request.method == "DELETE" and len(states) == 1:
                return web.json_response({"errors": [{"error": self.OVER}]}, status=500)
            job = {**JOB, "job_state": states.pop(0)}
            if request.method == "GET":
                return web.json_response({"jobs": [job]})
            raise AssertionError(request.method)

        answering.respond = respond
        if later == "COMPLETED":
            with pytest.raises(SchedulerRefused, match=f"job id 12: {self.OVER}"):
                await rest.cancel(Asking(), ("12",))
        else:
            assert await rest.cancel(Asking(), ("12",)) == "scancel: Terminating job 12"


class TestConfiguration:
    def settings(self, **rest: str) -> Settings:
        loaded: Settings = load(Settings, {"type": "slurm_rest", "base_fs": "/home", "rest": rest})
        return loaded

    def test_where_it_is_must_be_said(self) -> None:
        with pytest.raises(ConfigError, match="url and key_path are needed"):
            create(self.settings())

    def test_the_key_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"rest\.key_path"):
            create(self.settings(url="http://here:1", key_path=str(tmp_path / "none")))

    def test_a_newline_belongs_to_the_key(self, tmp_path: Path) -> None:
        path = tmp_path / "jwt.key"
        path.write_bytes(KEY)
        path.chmod(stat.S_IRUSR)
        made = create(self.settings(url="http://here:1", key_path=str(path)))
        assert made.daemon.key == KEY
        assert made.daemon.url == "http://here:1/slurm/v0.0.38"
