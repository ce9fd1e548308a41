"""Slurm's tools: what is called, and what is made of recorded output of Slurm 22.05."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TypeVar

import pytest

from firecrest.commands.base import Command, Completed, line
from firecrest.errors import AccessDenied, CommandFailed, Fault, SchedulerRefused
from firecrest.model.jobs import Accepted, AccountingQuery, JobDetails, QueuedJob, Submission
from firecrest.scheduler.base import Runner, is_job_id
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_features import SlurmVersion
from firecrest.scheduler.slurm_names import FileNames, straight
from firecrest.scheduler.slurm_sbatch import Sbatch
from firecrest.scheduler.slurm_scontrol import ScontrolShowJob
from firecrest.scheduler.slurm_tools import (
    Sacct,
    SacctSearch,
    Squeue,
    SqueueByLetters,
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
    row = (job_id, "part01", name, "alice", "RUNNING", "0:03", start, "29:57", "1", "n1", "N/A")
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
    """A machine with Slurm 22.05 that answers commands with prepared outputs, one by one."""

    user = "alice"

    def __init__(self, *answers: list[tuple[str, ...]]) -> None:
        self.answers = list(answers)
        self.commands: list[object] = []

    async def run(self, command: Command[T]) -> T:
        if command.argv() == SlurmVersion().argv():
            return command.result(Completed(0, b"slurm-wlm 22.05.8\n", b""))
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
        (job,) = Squeue(SEPARATOR).parse(squeue_output((*queued("15", "ok.sh")[:11], "")))
        assert (job.job_id, job.reason_or_nodes, job.details) == ("15", "n1", None)

    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_a_queue_before_20_02(self, name: str) -> None:
        """Its rows are those of ``--Format`` but for what it has no letter for."""
        output = squeue_output(*(queued(job_id, name)[:11] for job_id in ("16", "17")))
        jobs = SqueueByLetters(SEPARATOR, "alice").parse(output)
        expected = Squeue(SEPARATOR, "alice").parse(
            squeue_output(*(queued(job_id, name) for job_id in ("16", "17")))
        )
        assert jobs == [replace(job, details=None) for job in expected]

    def test_nothing(self) -> None:
        assert Squeue(SEPARATOR, "alice").parse(b"") == []
        assert SqueueByLetters(SEPARATOR, "alice").parse(b"") == []
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

    # recorded; the second is how squeue ends an id of more than 31 characters
    @pytest.mark.parametrize(
        ("job_id", "tasks", "expected"),
        [
            ("31_[1-9%2]", "1-9%2", "31_[1-9%2]"),
            ("28502_[3,10,23,27,30,32,65,97,1", "3,10,23,2...", "28502_[3,10,23,2...]"),
            ("31_7", "7", "31_7"),
            ("134217735+1", "N/A", "134217735+1"),
        ],
    )
    def test_no_id_is_cut_in_silence(self, job_id: str, tasks: str, expected: str) -> None:
        row = list(queued(job_id, "a"))
        row[10] = tasks
        (own,) = Squeue(SEPARATOR, "alice").parse(squeue_output(tuple(row)))
        assert own.details
        assert (own.job_id, own.details.job_id) == (expected, expected)
        (job,) = SqueueByLetters(SEPARATOR).parse(squeue_output(tuple(row[:11])))
        assert job.job_id == expected

    def test_headings_of_the_clusters_of_a_federation(self) -> None:
        """Who asks for several clusters (SLURM_CLUSTERS) is told where each list begins."""
        lists = [squeue_output(queued(job_id, "a")) for job_id in ("67108865", "134217735")]
        output = b"CLUSTER: c1\n" + lists[0] + b"\nCLUSTER: c2\n" + lists[1]
        jobs = Squeue(SEPARATOR, "alice").parse(output)
        assert [job.job_id for job in jobs] == ["67108865", "134217735"]
        assert {job.details.script for job in jobs if job.details} == {"/home/alice/ok.sh"}

    @pytest.mark.parametrize(
        "reason",
        [
            "(None)",
            "(ReqNodeNotAvail, UnavailableNodes:n[1-2])",
            "(Nodes required for job are DOWN)",
        ],
    )
    def test_why_a_job_waits(self, reason: str) -> None:
        row = list(queued("15", "a"))
        row[4], row[9] = "PENDING", reason
        (job,) = Squeue(SEPARATOR, "alice").parse(squeue_output(tuple(row)))
        assert (job.state, job.reason_or_nodes) == ("PENDING", reason)

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

    # The order of keys is that of slurm_sprint_job_info (src/api/job_info.c) of each version.
    @pytest.mark.parametrize(
        "behind",
        [
            " Switches=1@00:05:00 BurstBuffer=#BB create Power= GresEnforceBind=Yes",  # 19.05
            " Switches=1@00:05:00 Power= TresPerNode=gpu:1 MailUser=a MailType=END",  # 22.05
            " SegmentSize=4 Switches=2 GresAllowTaskSharing=Yes OOMKillStep=0 TresPerTask=cpu=1",
            " KillOInInvalidDependent=Yes SELinuxContext=x",  # as it was spelled
            " ResvPorts=12000-12001 ",
        ],
    )
    def test_what_stands_behind_the_outputs_is_no_part_of_them(self, behind: str) -> None:
        output = details_output(stdout="/home/alice/o 1").replace(b" Power= ", behind.encode())
        assert ScontrolShowJob("15").parse(output).stdout == "/home/alice/o 1"

    def test_slurm_26_05(self) -> None:
        """What has come since 22.05 stands before: an id, the way it was submitted, a text."""
        output = (
            details_output(comment="Comment=a Extra=b=c StdErr=/no ")
            .replace(b" UserId=", b" SLUID=s6ZV7JPJ4ZY600 UserId=", 1)
            .replace(b" WorkDir=", b" SubmitLine=sbatch -o /no StdOut=/no x.sh WorkDir=", 1)
            .replace(b" Power= ", b" OOMKillStep=0")
        )
        assert ScontrolShowJob("15").parse(output) == ScontrolShowJob("15").parse(details_output())

    def test_a_job_of_a_federation(self) -> None:
        """With the line that slurm_sprint_job_info adds, in front of the nodes."""
        fed = b" FedOrigin=c1 FedViableSiblings=c1,c2 FedActiveSiblings=c1 NumNodes="
        output = details_output().replace(b" NumNodes=", fed)
        assert ScontrolShowJob("15").parse(output) == ScontrolShowJob("15").parse(details_output())

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

    def test_a_user_that_squeue_does_not_know_has_not_been_looked_for(self) -> None:
        """It exits with 0, and the job would be submitted again."""
        search = SqueueSearch(SEPARATOR, user="alice", directory="/d")
        assert search.argv()[:4] == ("squeue", "--user=alice", "--all", "--states=all")
        with pytest.raises(SchedulerRefused, match="Invalid user: alice"):
            search.result(Completed(0, b"", b"squeue: error: Invalid user: alice\n\n"))


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
