"""Slurm's tools: what is called, and what is made of recorded output of Slurm 22.05."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest

from firecrest.commands.base import Command, Completed, line
from firecrest.errors import AccessDenied, CommandFailed, Fault, SchedulerRefused
from firecrest.model.jobs import Accepted, AccountingQuery, JobDetails, QueuedJob, Submission
from firecrest.scheduler.base import Runner
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_names import FileNames
from firecrest.scheduler.slurm_scontrol import ScontrolShowJob
from firecrest.scheduler.slurm_tools import (
    Sacct,
    SacctSearch,
    Sbatch,
    SbatchAndShow,
    Squeue,
    SqueueSearch,
    rows,
)
from tests.harness.unseen import Unseen

T = TypeVar("T")

SEPARATOR = ".:5ca1ab1e:."

NASTY_NAMES = [
    "a|b.:.c",
    "a\nb",
    "x\x1fy",
    "17|part01|forged",
    "has JobState=COMPLETED StdOut=/etc/passwd",
    "\n99\n",
    'ü "q" \'s $(id) `id`',
    "",
]

BAD_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh\n"
)

SHOW_JOB = (
    "JobId=15 JobName={name} UserId=alice(5001) GroupId=alice(5001) MCS_label=N/A Priority=1"
    " Nice=0 Account=proj01 QOS=normal JobState=RUNNING Reason=None Dependency=(null) Requeue=1"
    " Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0 RunTime=00:00:36 TimeLimit=00:30:00"
    " TimeMin=N/A SubmitTime=2026-11-24T07:19:57 EligibleTime=2026-11-24T07:19:57"
    " AccrueTime=2026-11-24T07:19:57 StartTime=2026-11-24T07:19:57"
    " EndTime=2026-11-24T07:49:57 Deadline=N/A SuspendTime=None SecsPreSuspend=0"
    " LastSchedEval=2026-11-24T07:19:57 Scheduler=Main Partition=part01"
    " AllocNode:Sid=localhost:3964 ReqNodeList=(null) ExcNodeList=(null) NodeList=n1"
    " BatchHost=n1 NumNodes=1 NumCPUs=1 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:*"
    " TRES=cpu=1,mem=32M,node=1,billing=1 Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*"
    " MinCPUsNode=1 MinMemoryCPU=32M MinTmpDiskNode=0 Features=(null) DelayBoot=00:00:00"
    " OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null) Command={script}"
    " WorkDir=/home/alice {comment}StdErr={stderr} StdIn=/dev/null StdOut={stdout} Power= \n"
)


def squeue_output(*fields: tuple[str, ...]) -> bytes:
    return "".join(SEPARATOR.join(row) + "\n" for row in fields).encode()


def queued(job_id: str, name: str) -> tuple[str, ...]:
    """A row as ``squeue --Format`` prints it."""
    start = "2026-11-24T07:19:57"
    row = (job_id, "part01", name, "alice", "RUNNING", "0:03", start, "29:57", "1", "n1")
    output = "/home/alice/slurm-15.out"
    return (*row, "/home/alice/ok.sh", output, "/home/alice/err-%j", job_id.partition("_")[0], "")


def accounted(job_id: str, name: str) -> tuple[str, ...]:
    """A row as ``sacct --format`` prints it."""
    start = "2026-11-24T07:19:57"
    rest = ("RUNNING", start, "00:00:36", "Unknown", "1", "n1", "0:0", "00:00:36")
    return (job_id, "part01", name, "alice", *rest)


def details_output(
    *,
    name: str = "ok.sh",
    script: str = "/home/alice/ok.sh",
    comment: str = "",
    stdout: str = "/home/alice/slurm-15.out",
    stderr: str = "/home/alice/slurm-15.out",
) -> bytes:
    return SHOW_JOB.format(
        name=name, script=script, comment=comment, stdout=stdout, stderr=stderr
    ).encode()


class Canned(Unseen):
    """A machine that answers every command with the next prepared output."""

    user = "alice"

    def __init__(self, *answers: list[tuple[str, ...]]) -> None:
        self.answers = list(answers)
        self.commands: list[object] = []

    async def run(self, command: Command[T]) -> T:
        self.commands.append(command)
        separator = getattr(command, "separator", "")
        text = "".join(separator.join(row) + "\n" for row in self.answers.pop(0))
        return command.result(Completed(0, text.encode(), b""))


class TestCalls:
    def test_sbatch(self) -> None:
        submission = Submission(
            directory="/home/alice/firecrest/9f",
            script="script.sh",
            account="proj01",
            comment="9f",
        )
        assert Sbatch(submission, ("--nohome",)).argv() == (
            "sbatch",
            "--account=proj01",
            "--comment=9f",
            "--chdir=/home/alice/firecrest/9f",
            "--nohome",
            "--",
            "/home/alice/firecrest/9f/script.sh",
        )

    def test_sbatch_of_a_script_by_path(self) -> None:
        submission = Submission(directory="/home/alice", script="/home/alice/-run.sh")
        assert Sbatch(submission).argv() == (
            "sbatch",
            "--chdir=/home/alice",
            "--",
            "/home/alice/-run.sh",
        )

    def test_squeue(self) -> None:
        assert Squeue("~", "alice", ("3", "4_1")).argv() == (
            "squeue",
            "--user=alice",
            "--jobs=3,4_1",
            "--Format=JobArrayID:~,Partition:~,Name:~,UserName:~,State:~,TimeUsed:~,StartTime:~,"
            "TimeLeft:~,NumNodes:~,ReasonList:~,Command:~,STDOUT:~,STDERR:~,JobID:~",
            "--noheader",
        )
        assert Squeue("~").argv()[1].endswith("NumNodes:~,ReasonList:~")  # nobody's files

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
        return Sbatch(Submission(directory="/d", script="s"))

    @pytest.mark.parametrize(
        "output",
        [
            b"Submitted batch job 15\n",
            b"sbatch: hello from a plugin\nSubmitted batch job 15\n",
            b"submitted BATCH job 15 on cluster daint\n",
        ],
    )
    def test_job_id(self, output: bytes) -> None:
        assert self.submission().result(Completed(0, output, b"sbatch: warning\n")) == 15

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


class TestListings:
    def test_queue(self) -> None:
        output = squeue_output(queued("15", "ok.sh"))
        assert Squeue(SEPARATOR, "alice").parse(output) == [
            QueuedJob(
                job_id="15",
                partition="part01",
                name="ok.sh",
                user="alice",
                state="RUNNING",
                elapsed="0:03",
                start="2026-11-24T07:19:57",
                time_left="29:57",
                nodes="1",
                reason_or_nodes="n1",
                details=JobDetails(
                    job_id="15",
                    state="RUNNING",
                    script="/home/alice/ok.sh",
                    stdout="/home/alice/slurm-15.out",
                    stderr="/home/alice/err-15",
                ),
            )
        ]

    def test_everybodys_queue(self) -> None:
        (job,) = Squeue(SEPARATOR).parse(squeue_output((*queued("15", "ok.sh")[:10], "")))
        assert (job.job_id, job.reason_or_nodes, job.details) == ("15", "n1", None)

    def test_nothing(self) -> None:
        assert Squeue(SEPARATOR, "alice").parse(b"") == []
        assert Sacct(SEPARATOR, AccountingQuery()).parse(b"") == []

    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_no_name_breaks_a_queue(self, name: str) -> None:
        output = squeue_output(queued("16", name), queued("31_[54-200]", "plain"))
        jobs = Squeue(SEPARATOR, "alice").parse(output)
        assert [(job.job_id, job.name) for job in jobs] == [
            ("16", name),
            ("31_[54-200]", "plain"),
        ]
        assert {job.reason_or_nodes for job in jobs} == {"n1"}

    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_no_name_breaks_an_accounting(self, name: str) -> None:
        output = squeue_output(accounted("16", name), accounted("17", "plain"))
        jobs = Sacct(SEPARATOR, AccountingQuery()).parse(output)
        assert [(job.job_id, job.name, job.elapsed) for job in jobs] == [
            ("16", name, "00:00:36"),
            ("17", "plain", "00:00:36"),
        ]

    def test_words_of_a_login_before_the_first_row(self) -> None:
        output = b"welcome\n" + squeue_output(queued("15", "ok.sh"))
        assert Squeue(SEPARATOR, "alice").parse(output)[0].job_id == "15"

    def test_output_that_was_cut(self) -> None:
        output = squeue_output(queued("15", "ok.sh"), queued("16", "ok.sh"))
        with pytest.raises(SchedulerRefused, match="incomplete"):
            Squeue(SEPARATOR, "alice").parse(output[:-40])

    def test_bytes_that_are_not_text(self) -> None:
        output = squeue_output(queued("15", "ok.sh")).replace(b"ok.sh", b"\xff")
        assert Squeue(SEPARATOR, "alice").parse(output)[0].name == "\ufffd"

    def test_rows_keep_newlines_of_any_field_but_the_first(self) -> None:
        assert rows(b"1|a\nb\n2|c\n\n", "|", width=2) == [("1", "a\nb"), ("2", "c\n")]

    @pytest.mark.parametrize(
        ("command", "stderr"),
        [
            (Squeue(SEPARATOR, "alice"), "slurm_load_jobs error: Invalid job id specified"),
            (ScontrolShowJob("9"), "slurm_load_jobs error: Invalid job id specified"),
            (Sacct(SEPARATOR, AccountingQuery()), "Invalid time specification (pos=0): garbage"),
        ],
    )
    def test_refusals(self, command: Command[object], stderr: str) -> None:
        with pytest.raises(SchedulerRefused) as raised:
            command.result(Completed(1, b"", stderr.encode() + b"\n"))
        assert raised.value.message == stderr


class TestDetails:
    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_no_name_is_taken_for_a_path_or_state(self, name: str) -> None:
        details = ScontrolShowJob("15").parse(details_output(name=name))
        assert details.job_id == "15"
        assert details.state == "RUNNING"
        assert details.script == "/home/alice/ok.sh"
        assert details.stdout == details.stderr == "/home/alice/slurm-15.out"

    @pytest.mark.parametrize("path", ["/home/alice/s p/a  b=c", "/d/x=1 y=2", "/d/Foo=bar Foo=bar"])
    def test_blanks_and_equals_signs_in_paths(self, path: str) -> None:
        details = ScontrolShowJob("15").parse(
            details_output(script=path, stdout=path, stderr=path, comment="Comment=a b|c  ")
        )
        assert (details.script, details.stdout, details.stderr) == (path, path, path)

    def test_comment_cannot_pretend(self) -> None:
        comment = "Comment=x JobState=FAILED Command=/no StdErr=/no StdOut=/no  "
        details = ScontrolShowJob("15").parse(details_output(comment=comment))
        assert details == ScontrolShowJob("15").parse(details_output())

    def test_what_is_not_known(self) -> None:
        details = ScontrolShowJob("15").parse(
            details_output(script="(null)", stdout="(null)", stderr="")
        )
        assert (details.script, details.stdout, details.stderr) == (None, None, None)

    def test_interactive_job_has_no_outputs(self) -> None:
        whole = details_output()
        start, end = whole.index(b" StdErr="), whole.index(b" Power=")
        details = ScontrolShowJob("15").parse(whole[:start] + whole[end:])
        assert (details.stdout, details.stderr) == (None, None)

    def test_array_reports_its_first_row(self) -> None:
        other = details_output(stdout="/other").replace(b"JobId=15", b"JobId=16")
        details = ScontrolShowJob("15").parse(details_output() + other)
        assert details.stdout == "/home/alice/slurm-15.out"

    def test_newer_slurm_without_power(self) -> None:
        output = details_output().replace(b" Power= ", b" TresPerTask=cpu=1")
        assert ScontrolShowJob("15").parse(output).stdout == "/home/alice/slurm-15.out"
        output = details_output().replace(b" Power= ", b"")
        assert ScontrolShowJob("15").parse(output).stdout == "/home/alice/slurm-15.out"

    def test_something_else(self) -> None:
        with pytest.raises(SchedulerRefused, match="No jobs"):
            ScontrolShowJob("15").parse(b"No jobs in the system\n")


class TestFind:
    async def test_in_the_queue(self) -> None:
        on = Canned([("14", "/home/alice"), ("31_[2-9]", "/d"), ("30", "/d/"), ("16", "/d/e")])
        assert await Slurm().find(on, "/d") == 31
        assert [type(command) for command in on.commands] == [SqueueSearch]

    async def test_in_the_accounting(self) -> None:
        on = Canned([("14", "/home/alice")], [("14", "/home/alice"), ("16", "/a\nb|c")])
        assert await Slurm().find(on, "/a\nb|c") == 16
        assert [type(command) for command in on.commands] == [SqueueSearch, SacctSearch]

    async def test_nowhere(self) -> None:
        assert await Slurm().find(Canned([], []), "/d") is None


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
        Sbatch(Submission(directory="/d", script="s")).result(Completed(status, b"", stderr))
    assert caught.value.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    "stderr",
    [BAD_SCRIPT.encode(), b"sbatch: error: Unable to contact slurm controller (connect failure)"],
)
def test_a_submission_that_was_surely_refused_is_a_refusal(stderr: bytes) -> None:
    with pytest.raises(SchedulerRefused):
        Sbatch(Submission(directory="/d", script="s")).result(Completed(1, b"", stderr))


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


class TestSubmitting:
    """sbatch and the look at its job, by one program whose tools are made up."""

    @staticmethod
    def run(tmp_path: Path, **tools: str) -> Completed:
        for name, body in tools.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)
        command = SbatchAndShow(Sbatch(Submission(directory="/d", script="run.sh")))
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/sh", "-c", line(command, 10)], env=environment, capture_output=True, check=False
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    command = SbatchAndShow(Sbatch(Submission(directory="/d", script="run.sh")))

    def test_job_and_details_come_together(self, tmp_path: Path) -> None:
        (tmp_path / "shown").write_bytes(details_output(name="a\nb"))
        completed = self.run(
            tmp_path,
            sbatch="echo Submitted batch job 15 on cluster c1",
            scontrol=f'[ "$*" = "-o show job=15" ] && cat {tmp_path}/shown',
        )
        accepted = self.command.result(completed)
        assert accepted.job_id == 15
        assert accepted.details
        assert accepted.details.stdout == "/home/alice/slurm-15.out"

    def test_a_job_that_cannot_be_shown_is_a_job(self, tmp_path: Path) -> None:
        completed = self.run(
            tmp_path, sbatch="echo Submitted batch job 15", scontrol="echo no >&2; exit 1"
        )
        assert self.command.result(completed) == Accepted(15)

    def test_what_sbatch_refuses_is_refused(self, tmp_path: Path) -> None:
        completed = self.run(tmp_path, sbatch="echo 'sbatch: error: no' >&2; exit 3", scontrol="")
        assert completed.status == 3
        with pytest.raises(SchedulerRefused, match="sbatch: error: no"):
            self.command.result(completed)

    def test_a_signal_leaves_it_open(self, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed) as raised:
            self.command.result(self.run(tmp_path, sbatch="kill -KILL $$", scontrol=""))
        assert raised.value.fault is Fault.TIMEOUT

    async def test_a_wrapper_that_knows_no_shell_is_asked_for_sbatch_alone(self) -> None:
        class Wrapped(Canned):
            async def run(self, command: Command[T]) -> T:
                allowed = command.argv()[0] == "sbatch"
                status, said = (0, b"Submitted batch job 9\n") if allowed else (118, b"")
                return command.result(Completed(status, said, b""))

        submission = Submission(directory="/d", script="run.sh")
        assert await Slurm().submit(Wrapped(), submission) == Accepted(9)
