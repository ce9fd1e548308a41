"""What Slurm's REST daemon says, read and asked; recorded shapes of v0.0.38 and later ones."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import jwt
import pytest
from aiohttp import web

from firecrest.commands.base import Command
from firecrest.config.settings import Scheduler as Settings
from firecrest.errors import ConfigError, SchedulerRefused
from firecrest.model.inventory import Partition
from firecrest.scheduler import slurm_json
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_names import base, expand_hosts, is_part
from firecrest.scheduler.slurm_rest import Daemon, SlurmRest, create
from firecrest.scheduler.slurm_scontrol import ScontrolShowPartitions
from firecrest.schema import load
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
            ("31_[8-9%1]", ["31_8", "31_9"]),
            ("n[1-999999999]", ["n[1-999999999]"]),
            ("n[0-99999,0-9],m1", ["n[0-99999,0-9]", "m1"]),
            (f"n[{'9' * 5000}]", [f"n[{'9' * 5000}]"]),
            ("n[1-2-3]", ["n[1-2-3]"]),
            ("n[3-1]", []),
            ("n[", ["n["]),
        ],
    )
    def test_hosts(self, names: str, expected: list[str]) -> None:
        assert expand_hosts(names) == expected

    def test_parts(self) -> None:
        assert [base(text) for text in ("31", "31_7", "31_[8-9]", "31+1")] == ["31"] * 4
        assert is_part("31_7", "31")
        assert is_part("31_[7-9]", "31_8")
        assert is_part("31_7", "31_[7-9]")
        assert not is_part("31_7", "31_8")
        assert is_part("31_[1,7-9%2]", "31_8")
        assert not is_part("31_[7-9]", "31_6")
        assert not is_part("31_[7-9]", "31_x")
        assert not is_part("3", "31")


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


class TestDaemon:
    async def test_it_is_asked_in_the_name_of_the_user(
        self, answering: Answering, reach: Reach
    ) -> None:
        daemon = reach(f"{answering.url}/slurm/v0.0.38")
        assert await daemon.ask("alice", "/jobs") == {"jobs": []}
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
            (200, "[]", "Slurm's REST daemon gave no answer that could be read (status 200)"),
        ],
    )
    async def test_what_it_refuses_is_told(
        self, answering: Answering, reach: Reach, status: int, body: str, words: str
    ) -> None:
        answering.answer = web.Response(status=status, text=body)
        with pytest.raises(SchedulerRefused) as raised:
            await reach(answering.url).ask("alice", "/jobs")
        assert raised.value.message == words

    async def test_a_name_that_is_no_text_spoils_no_list(
        self, answering: Answering, reach: Reach
    ) -> None:
        answering.answer = web.Response(body=b'{"jobs": [{"name": "caf\xe9"}]}')
        answer = await reach(answering.url).ask("alice", "/jobs")
        assert answer == {"jobs": [{"name": "caf\N{REPLACEMENT CHARACTER}"}]}

    async def test_one_that_is_not_there_is_told(self, reach: Reach) -> None:
        with pytest.raises(SchedulerRefused, match="cannot be reached"):
            await reach("http://127.0.0.1:1").ask("alice", "/jobs")

    async def test_users_share_connections_but_no_name(
        self, answering: Answering, reach: Reach
    ) -> None:
        answering.answer.set_cookie("session", "alice's")
        daemon = reach(answering.url)
        for user in ("alice", "bob", "alice"):
            await daemon.ask(user, "/jobs")
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
            assert await daemon.ask("alice", "/jobs") == {"jobs": []}
            await daemon.aclose()
            answering.answer = web.json_response({"jobs": []})
        assert len(answering.peers) == 2

    async def test_a_token_follows_no_redirection(self, answering: Answering, reach: Reach) -> None:
        answering.answer = web.Response(status=302, headers={"Location": f"{answering.url}/other"})
        with pytest.raises(SchedulerRefused):
            await reach(answering.url).ask("alice", "/jobs")
        assert len(answering.asked) == 1


class Asking(Unseen):
    """A user whose commands are not run, but written down."""

    user = "alice"

    def __init__(self) -> None:
        self.ran: list[type] = []

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
