#!/bin/sh
# A file, a job and its output, with nothing but curl.
#
#   FIRECREST_URL=... FIRECREST_TOKEN=... FIRECREST_MACHINE=... first-job.sh DIRECTORY
#
# DIRECTORY is yours on the machine, like /home/alice.
set -eu

directory=${1:?usage: first-job.sh DIRECTORY}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# curl reads the token from a file, so that no other user of this computer sees it
umask 077
printf 'header = "Authorization: Bearer %s"\nheader = "X-Machine-Name: %s"\n' \
  "$FIRECREST_TOKEN" "$FIRECREST_MACHINE" >"$work/curlrc"

call() { # call PATH OPTION...: the answer; what went wrong is in it
  path=$1
  shift
  curl --silent --show-error --config "$work/curlrc" "$@" "$FIRECREST_URL$path"
}

value() { # value KEY: of the last such member of the JSON on standard input, if it is simple
  sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

finished() { # finished TASK: the task in its last state; the server answers when it is reached
  call "/tasks/$1?view=extended" --header 'Prefer: wait=60'
}

printf 'hello\n' >"$work/input.txt"
call /utilities/upload --form "targetPath=$directory" --form "file=@$work/input.txt" >/dev/null
printf 'checksum %s\n' \
  "$(call /utilities/checksum --get --data-urlencode "targetPath=$directory/input.txt" | value output)"

# the job says when it is done: by the file that it leaves last
cat >"$work/job.sh" <<JOB
#!/bin/bash
#SBATCH --job-name=first-job
tr a-z A-Z <"$directory/input.txt" >"$directory/output.new"
mv "$directory/output.new" "$directory/output.txt"
JOB
task=$(call /compute/jobs --form "file=@$work/job.sh" | value task_id)
submitted=$(finished "$task")
job=$(printf '%s' "$submitted" | value jobid)
if [ -z "$job" ]; then
  printf 'not submitted: %s\n' "$submitted" >&2
  exit 1
fi
echo "job $job"

state=PENDING
while [ "$state" != COMPLETED ]; do
  task=$(call "/compute/acct?jobs=$job" | value task_id)
  state=$(finished "$task" | value state)
  case $state in FAILED | CANCELLED* | TIMEOUT | NODE_FAIL) echo "$state" >&2 && exit 1 ;; esac
  [ "$state" = COMPLETED ] || sleep 2
done
echo "$state"
call /utilities/view --get --data-urlencode "targetPath=$directory/output.txt" | value output
