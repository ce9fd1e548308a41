"""Slurm's tools: what is called, and what is made of recorded output of Slurm 22.05."""

from __future__ import annotations

import shlex

import pytest

from firecrest.commands.base import Completed, line
from firecrest.errors import AccessDenied, CommandFailed, Fault, SchedulerRefused
from firecrest.model.jobs import Accepted, AccountingQuery, Submission
from firecrest.scheduler.base import Runner, is_job_id
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_names import FileNames, straight
from firecrest.scheduler.slurm_sbatch import Sbatch
from firecrest.scheduler.slurm_scontrol import ScontrolShowJob
from firecrest.scheduler.slurm_tools import (
    Sacct,
    Squeue,
    SqueueByLetters,
)
from tests.unit.canned_slurm import (
    BAD_SCRIPT,
    SEPARATOR,
    Canned,
)


class TestCalls:
    def test_sbatch(self) -> None:
        submission = Submission(
            directory="/home/alice/firecrest/9f",
            script="script.sh",
            account="proj01",
            comment="9f",
        )
        assert Sbatch(submission, "alice", ("--nohome",)).argv() == (
            "sbatch",
            "-v",
            "--account=proj01",
            "--comment=9f",
            "--chdir=/home/alice/firecrest/9f",
            "--nohome",
            "--",
            "/home/alice/firecrest/9f/script.sh",
        )

    def test_sbatch_of_a_script_by_path(self) -> None:
        submission = Submission(directory="/home/alice", script="/home/alice/-run.sh")
        assert Sbatch(submission, "alice").argv() == (
            "sbatch",
            "-v",
            "--chdir=/home/alice",
            "--",
            "/home/alice/-run.sh",
        )

    def test_sbatch_of_a_script_by_path_through_its_guard(self) -> None:
        guard = f"/home/alice/firecrest/{'9f' * 16}/attempt-2"
        submission = Submission(directory="/d", script="/d/run.sh", guard=guard, guard_in_path=True)
        sbatch = Sbatch(submission, "alice")
        *words, script = sbatch.argv()
        assert words == ["sbatch", "-v", "--chdir=/d", "--"]
        assert script.startswith(f"{guard}/../../")
        assert script.endswith("/../d/run.sh")
        # it is told as the user knows it
        assert straight(script) == "/d/run.sh"
        accepted = sbatch.result(Completed(0, b"Submitted batch job 7", told(chdir="/d").encode()))
        assert accepted.details is not None
        assert accepted.details.script == "/d/run.sh"

    @pytest.mark.parametrize("path", ["/d/attempt-1/run.sh", "/d/attempt-1/../run.sh", "run", ""])
    def test_other_paths_of_scripts_stay_as_they_are(self, path: str) -> None:
        assert straight(path) == path

    def test_squeue(self) -> None:
        assert Squeue("~", "alice", ("3", "4_1")).argv() == (
            "squeue",
            "--user=alice",
            "--jobs=3,4_1",
            "--Format=JobArrayID:~,Partition:~,Name:~,UserName:~,State:~,TimeUsed:~,StartTime:~,"
            "TimeLeft:~,NumNodes:~,ReasonList:~,ArrayTaskID:~,Command:~,STDOUT:~,STDERR:~,JobID:~",
            "--noheader",
        )
        assert Squeue("~").argv()[1].endswith("ReasonList:~,ArrayTaskID:~")  # nobody's files

    def test_squeue_before_20_02(self) -> None:
        assert SqueueByLetters("~", "alice", ("3", "4_1")).argv() == (
            "squeue",
            "--user=alice",
            "--jobs=3,4_1",
            "--format=%i~%P~%j~%u~%T~%M~%S~%L~%D~%R~%K",
            "--noheader",
        )

    def test_sacct(self) -> None:
        query = AccountingQuery(job_ids=("3", "4"), start="11/24/26-08:00", end="03:00 PM")
        fields = (
            "jobid,partition,jobname,user,state,start,cputime,end,NNodes,NodeList,ExitCode,elapsed"
        )
        assert Sacct(".", query).argv() == (
            "sacct",
            "-X",
            "--starttime=11/24/26-08:00",
            "--endtime=03:00 PM",
            "--jobs=3,4",
            f"--format={fields}",
            "--noheader",
            "--parsable2",
            "--delimiter=.",
        )

    def test_scontrol(self) -> None:
        assert ScontrolShowJob("3_1").argv() == ("scontrol", "-o", "show", "job=3_1")

    def test_whole_line_starts_as_the_wrapper_accepts(self) -> None:
        words = shlex.split(line(Squeue(SEPARATOR, "alice"), 10))
        assert words[:4] == ["SLURM_TIME_FORMAT=standard", "timeout", "10", "squeue"]
        assert shlex.split(line(ScontrolShowJob("1"), 10))[1:4] == ["timeout", "10", "scontrol"]

    async def test_separator_is_never_the_same(self) -> None:
        on = Canned([], [])
        runner: Runner = on
        await Slurm().queue(runner, user=None)
        await Slurm().queue(runner, user=None)
        assert on.commands[0] != on.commands[1]


class TestSbatch:
    def submission(self) -> Sbatch:
        return Sbatch(Submission(directory="/d", script="s"), "alice")

    @pytest.mark.parametrize(
        "output",
        [
            b"Submitted batch job 15\n",
            b"sbatch: hello from a plugin\nSubmitted batch job 15\n",
            b"submitted BATCH job 15 on cluster daint\n",
            b"Submitted batch job 15 on cluster c1,c2\n",
        ],
    )
    def test_job_id(self, output: bytes) -> None:
        assert self.submission().result(Completed(0, output, b"sbatch: warning\n")) == Accepted(15)

    def test_job_id_of_a_federation(self) -> None:
        output = b"Submitted batch job 201326599 on cluster c3\n"
        accepted = self.submission().result(Completed(0, output, b""))
        assert accepted == Accepted(201326599)
        assert is_job_id("201326599_[1-3]")

    @pytest.mark.parametrize("output", [b"", b"fine\n"])
    def test_missing_job_id(self, output: bytes) -> None:
        with pytest.raises(SchedulerRefused, match=output.decode().strip() or "no job id"):
            self.submission().result(Completed(0, output, b""))

    @pytest.mark.parametrize(
        ("stderr", "message"),
        [
            (
                "sbatch: error: Unable to open file /d/s\n",
                "sbatch: error: Unable to open file /d/s",
            ),
            (BAD_SCRIPT, BAD_SCRIPT.rstrip("\n").replace("\n", " ")),
            # words that mean a path elsewhere mean none here
            (
                "sbatch: error: Unable to open /d/s: No such file or directory\n",
                "sbatch: error: Unable to open /d/s: No such file or directory",
            ),
        ],
    )
    def test_refusals_are_slurms_own_words(self, stderr: str, message: str) -> None:
        with pytest.raises(SchedulerRefused) as raised:
            self.submission().result(Completed(1, b"", stderr.encode()))
        assert raised.value.message == message
        assert raised.value.fault is Fault.OTHER

    @pytest.mark.parametrize(
        ("status", "fault"), [(124, Fault.TIMEOUT), (118, Fault.WRAPPER_REFUSED)]
    )
    def test_not_slurms_words(self, status: int, fault: Fault) -> None:
        with pytest.raises(CommandFailed) as raised:
            self.submission().result(Completed(status, b"", b""))
        assert raised.value.fault is fault
        assert not isinstance(raised.value, SchedulerRefused)

    def test_access_denied(self) -> None:
        with pytest.raises(AccessDenied):
            self.submission().result(Completed(255, b"", b"OPENSSH says no\n"))


@pytest.mark.parametrize(
    ("status", "stderr"),
    [
        (124, b""),
        (137, b"Killed"),
        (-15, b""),
        (1, b"sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"),
        (1, b"sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received"),
    ],
)
def test_a_submission_that_may_have_been_accepted_is_a_time_out(status: int, stderr: bytes) -> None:
    with pytest.raises(CommandFailed) as caught:
        Sbatch(Submission(directory="/d", script="s"), "alice").result(
            Completed(status, b"", stderr)
        )
    assert caught.value.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    "stderr",
    [BAD_SCRIPT.encode(), b"sbatch: error: Unable to contact slurm controller (connect failure)"],
)
def test_a_submission_that_was_surely_refused_is_a_refusal(stderr: bytes) -> None:
    with pytest.raises(SchedulerRefused):
        Sbatch(Submission(directory="/d", script="s"), "alice").result(Completed(1, b"", stderr))


class TestFileNames:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("/d/out", "/d/out"),
            ("/d/%x-%j.out", "/d/a%jb-15.out"),  # a name is not looked into
            ("/d/%A_%a.%j", "/d/31_7.15"),
            ("/d/%5j%3a%u%%j", "/d/00015007alice%j"),
            ("/d/%99j", "/d/0000000015"),
            ("/d/%N-%t-%", "/d/%N-%t-%"),
            ("/d/\\%j", "/d/%j"),
        ],
    )
    def test_of_a_task_of_an_array(self, pattern: str, expected: str) -> None:
        names = FileNames(job_id="31_7", number="15", user="alice", name="a%jb")
        assert names.expanded(pattern) == expected

    @pytest.mark.parametrize("job_id", ["15", "31_[8-9]", "14+1"])
    def test_where_there_is_no_task(self, job_id: str) -> None:
        names = FileNames(job_id=job_id, number="15", user="alice", name="n")
        assert names.expanded("%j %a") == "15 %a"
        assert names.expanded("%A") == ("31" if "_" in job_id else "15")


def told(**options: str) -> str:
    """What ``sbatch -v`` says of the options in force."""
    rule = f"sbatch: {'-' * 20} {'-' * 20}\n"
    lines = "".join(f"sbatch: {name:<20}: {value}\n" for name, value in sorted(options.items()))
    return f"sbatch: defined options\n{rule}{lines}{rule}sbatch: end of defined options\n"


PLUGINS = (
    "sbatch: select/cons_tres: common_init: select/cons_tres loaded\n"
    "sbatch: select/linear: init: Linear node selection plugin loaded with argument 17\n"
)


class TestWhatSbatchTells:
    command = Sbatch(Submission(directory="/d", script="run.sh"), "alice")

    def accepted(self, stderr: str) -> Accepted:
        return self.command.result(Completed(0, b"Submitted batch job 15\n", stderr.encode()))

    def files(self, stderr: str) -> tuple[str | None, str | None]:
        accepted = self.accepted(stderr)
        assert accepted.details
        assert accepted.details.script == "/d/run.sh"
        return accepted.details.stdout, accepted.details.stderr

    def test_usual_names(self) -> None:
        stderr = told(chdir="/d", verbose="1") + PLUGINS
        assert self.files(stderr) == ("/d/slurm-15.out", "/d/slurm-15.out")

    def test_names_the_user_gave(self) -> None:
        stderr = told(chdir="/d", output="/d/%x-%j-%u.o", **{"job-name": "a\nb: c"}) + PLUGINS
        assert self.files(stderr) == ("/d/a\nb: c-15-alice.o", "/d/a\nb: c-15-alice.o")
        stderr = told(chdir="/e", error="/dev/null") + PLUGINS
        assert self.files(stderr) == ("/e/slurm-15.out", "/dev/null")
        assert self.files(told(chdir="/d", output="/d/%x"))[0] == "/d/run.sh"

    @pytest.mark.parametrize(
        "stderr",
        [
            "",
            PLUGINS,
            told(array="1-3", chdir="/d"),
            told(chdir="/d") + PLUGINS + told(chdir="/d"),  # a heterogeneous job
            told(output="/d/o"),
        ],
    )
    def test_what_only_scontrol_knows_is_left_to_it(self, stderr: str) -> None:
        assert self.accepted(stderr) == Accepted(15)

    def test_a_refusal_is_in_slurms_own_words_only(self) -> None:
        stderr = (
            told(chdir="/d", comment="a\nb", export="ALL,KEY=secret")
            + PLUGINS
            + "sbatch: lua: no hours left\n"
            + "sbatch: error: Batch job submission failed: Invalid account\n"
        )
        with pytest.raises(SchedulerRefused) as raised:
            self.command.result(Completed(1, b"", stderr.encode()))
        assert raised.value.message == (
            "sbatch: lua: no hours left sbatch: error: Batch job submission failed: Invalid account"
        )
