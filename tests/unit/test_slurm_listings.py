"""What Slurm prints of jobs, read again (Contract: rest-v1 §7)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from firecrest.commands.base import Command, Completed
from firecrest.errors import SchedulerRefused
from firecrest.model.jobs import AccountingQuery, JobDetails, QueuedJob
from firecrest.scheduler.slurm import Slurm
from firecrest.scheduler.slurm_scontrol import ScontrolShowJob
from firecrest.scheduler.slurm_tools import (
    Sacct,
    SacctSearch,
    Squeue,
    SqueueByLetters,
    SqueueSearch,
    rows,
)
from tests.unit.canned_slurm import (
    NASTY_NAMES,
    SEPARATOR,
    Canned,
    accounted,
    details_output,
    queued,
    squeue_output,
)


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
