"""What the demo says when it is up: the tutorial as commands to copy."""

from dataclasses import dataclass
from pathlib import Path

JOB = """\
#!/bin/bash
#SBATCH --job-name=tutorial
echo "Hello from job $SLURM_JOB_ID on $(hostname)"
sleep 20
echo "Done"
"""
INPUT = "An input file of the tutorial.\n"


@dataclass(frozen=True)
class Guide:
    """What the text speaks of."""

    gateway: str
    user: str
    token: str
    state: Path
    home: Path
    python: Path
    components: list[str]

    def write_files(self) -> None:
        """The local files that the commands upload."""
        (self.state / "job.sh").write_text(JOB)
        (self.state / "input.txt").write_text(INPUT)

    def text(self) -> str:
        """Everything, ready to be printed."""
        components = "\n".join(f"  {line}" for line in self.components)
        state, home, gateway = self.state, self.home, self.gateway
        return f"""
firecrest-server is up:
{components}
  All files, also the logs, are in {state} until the demo stops.
  Nobody is kept apart from anybody here: every user of the demo acts as you do.

In a browser, signed in as user {self.user} by this link:

  {gateway}/console#token={self.token}

In another terminal, as user {self.user} (every user's token is in {state}/token.<user>):

  export TOKEN={self.token}
  export FIRECREST={gateway}
  auth="Authorization: Bearer $TOKEN"; machine="X-Machine-Name: cluster"

  # the services; the home directory; a small file
  curl "$FIRECREST/status/services" -H "$auth"
  curl "$FIRECREST/utilities/ls?targetPath={home}" -H "$auth" -H "$machine"
  curl "$FIRECREST/utilities/upload" -H "$auth" -H "$machine" \\
    -F "targetPath={home}" -F "file=@{state}/input.txt"

  # a job, its task (put in the task_id of the answer), the queue, the accounting
  curl "$FIRECREST/compute/jobs" -H "$auth" -H "$machine" -F "file=@{state}/job.sh"
  curl "$FIRECREST/tasks/<task_id>" -H "$auth"
  curl "$FIRECREST/compute/jobs" -H "$auth" -H "$machine"
  curl "$FIRECREST/compute/acct" -H "$auth" -H "$machine"

  # a big file: the task's data holds the command that uploads it, then tell the gateway
  curl "$FIRECREST/storage/xfer-external/upload" -H "$auth" \\
    -F "sourcePath={state}/input.txt" -F "targetPath={home}"
  curl -X PUT "$FIRECREST/storage/xfer-external/upload" -H "$auth" -H "X-Task-ID: <task_id>"

  # everything as it happens, over the websocket {gateway}/events?tasks=*
  FIRECREST_URL=$FIRECREST FIRECREST_TOKEN=$TOKEN {self.python} -m firecrest watch

Ctrl-C stops everything and removes {state}.
"""
