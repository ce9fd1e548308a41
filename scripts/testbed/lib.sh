# Sourced by every script of the testbed: settings, messages, locking, and the
# handling of background processes without systemd.
# shellcheck shell=bash
# shellcheck disable=SC2034  # most settings are used by the files that source this one

set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# ------------------------------------------------------------------ settings

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=${FIRECREST_TESTBED_ROOT:-/srv/firecrest-testbed}
ETC=$ROOT/etc      # configuration, keys and testbed.env
LOG=$ROOT/log      # one log per daemon
PIDS=$ROOT/pids    # one "pid starttime" file per daemon
RUN=$ROOT/run      # pid files that daemons write themselves
CEPH=$ROOT/ceph    # everything of Ceph
ENV_FILE=$ETC/testbed.env

# Every port is one of 127.0.0.1. Each setting can be chosen as TESTBED_<name> in
# the environment of `up`, and stays chosen until `down --purge`.
SETTINGS="SSH_PORT=2022 REDIS_PORT=6390 DB_PORT=33306 SLURMDBD_PORT=16819
 SLURMCTLD_PORT=16817 SLURMRESTD_PORT=16820 SLURMD_PORT=16900 S3_PORT=17480 CEPH_MON_PORT=17789
 CEPH_OSD_PORT=17800 CLUSTER=testbed NODES=4 NODE_CPUS=16 NODE_MEMORY=16384
 USERS=alice,bob S3_ACCESS_KEY=testbedaccess S3_REGION=us-east-1"

# load_settings: set each setting from TESTBED_<name> in the environment, else
# from the last `up`, else from the defaults above.
load_settings() {
  local pair name variable saved
  for pair in $SETTINGS; do
    name=${pair%%=*} variable=TESTBED_${pair%%=*}
    saved=$(sed -n "s/^$variable=//p" "$ENV_FILE" 2>/dev/null || true)
    if [ -n "${!variable:-}" ]; then
      declare -g "$name=${!variable}"
    else
      declare -g "$name=${saved:-${pair#*=}}"
    fi
  done
}
load_settings

CEPH_OSD_PORT_MAX=$((CEPH_OSD_PORT + 30))
HOST=$(uname -n)
HOST=${HOST%%.*}   # Slurm compares with the short host name

# ------------------------------------------------------------------ messages

say() { printf 'testbed: %s\n' "$*" >&2; }
die() {
  say "FAILED: $*"
  exit 1
}

# lap WHAT: report and record the time since the last lap.
LAP_START=${EPOCHREALTIME/./}
lap() {
  local now=${EPOCHREALTIME/./}
  printf '%s\t%d ms\n' "$1" $(((now - LAP_START) / 1000)) >>"$LOG/timing.tsv"
  LAP_START=$now
}

# ------------------------------------------------------------------- locking

need_root() {
  [ "$(id -u)" = 0 ] ||
    die "must run as root (it installs packages, creates users and starts sshd and slurmd)"
}

# Only one up, down or service at a time, whatever its root: they share /etc/slurm. Descriptor 9 holds the lock; `spawn`
# closes it in daemons, or they would hold the lock for as long as they live.
lock() {
  mkdir -p /run/lock
  exec 9>/run/lock/firecrest-testbed.lock
  flock -w 600 9 || die "another testbed script has been running for 10 minutes"
}

# ----------------------------------------------------------------- processes

# starttime PID: the kernel's start time of a live process. Together with the
# pid it identifies a process for good: a reused pid has another start time.
starttime() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the process name may hold blanks and parentheses
  # shellcheck disable=SC2086
  set -- $stat
  case $1 in Z | X) return 1 ;; esac # pid 1 may be slow to reap: a zombie is dead
  echo "${20}"
}

# pid_of NAME: print the pid of our daemon NAME, or fail if it does not run.
pid_of() {
  local pid start
  read -r pid start 2>/dev/null <"$PIDS/$1" || return 1
  [ -n "$start" ] && [ "$(starttime "$pid")" = "$start" ] && echo "$pid"
}
alive() { pid_of "$1" >/dev/null; }

# spawn NAME PORT COMMAND...: start a daemon in the background unless it runs.
# The command must stay in the foreground, so that the recorded pid is its pid.
# PORT (or 0) must be free: an answer on it must not come from somebody else.
spawn() {
  local name=$1 port=$2
  shift 2
  if alive "$name"; then return 0; fi
  if [ "$port" != 0 ] && port_open "$port"; then
    die "cannot start $name: port $port of 127.0.0.1 is in use by another process"
  fi
  rm -f "$PIDS/$name"
  (
    exec 9>&- </dev/null >>"$LOG/$name.out" 2>&1
    ulimit -n 16384 2>/dev/null || true
    pid=$BASHPID # not inside $(...), where BASHPID is another process
    echo "$pid $(starttime "$pid")" >"$PIDS/$name.new"
    mv "$PIDS/$name.new" "$PIDS/$name"
    # not a group leader, so setsid does not fork and the pid stays the same;
    # a clean environment: nothing of the caller's shell reaches the cluster, nor
    # do the ignored signals (INT, QUIT) of a background shell
    exec setsid env --default-signal -i PATH="$PATH" LANG=C.UTF-8 HOME=/root SLURM_CONF="$ETC/slurm.conf" "$@"
  ) &
  local i
  for ((i = 0; i < 100; i++)); do
    if [ -s "$PIDS/$name" ]; then return 0; fi
    sleep 0.02
  done
  die "$name: was not started"
}

# wait_ready NAME SECONDS COMMAND...: wait until the command succeeds; give up at
# once when the daemon dies.
wait_ready() {
  local name=$1 end=$((SECONDS + $2)) output
  shift 2
  while alive "$name"; do
    if output=$("$@" 2>&1 9>&-); then return 0; fi
    [ $SECONDS -lt "$end" ] || die "$name: not ready in time: ${output: -300} (logs in $LOG)"
    sleep 0.05
  done
  die "$name: exited; the end of $LOG/$name.out: $(tail -n 5 "$LOG/$name.out")"
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# stop NAME SECONDS: TERM, and KILL if that is ignored; nothing if it is not ours.
stop() {
  local name=$1 pid i
  if ! pid=$(pid_of "$name"); then
    rm -f "$PIDS/$name"
    return 0
  fi
  kill -TERM "$pid" 2>/dev/null || true
  kill -CONT "$pid" 2>/dev/null || true # it may have been paused
  for ((i = 0; i < $2 * 20; i++)); do
    alive "$name" || break
    sleep 0.05
  done
  if alive "$name"; then
    say "$name ($pid) ignores TERM: KILL"
    stop_hard "$name"
  fi
  rm -f "$PIDS/$name"
}

# stop_hard NAME: KILL, as a crash would.
stop_hard() {
  local pid
  if pid=$(pid_of "$1"); then
    kill -KILL "$pid" 2>/dev/null || true
    while alive "$1"; do sleep 0.02; done
  fi
  rm -f "$PIDS/$1"
}

as() { # as USER COMMAND...: for `spawn`: run as a system user, with its groups
  local user=$1
  shift
  AS=(setpriv "--reuid=$user" "--regid=$user" --init-groups "$@")
}

nodes() { seq -f 'n%g' 1 "$NODES"; }
users() { tr ',' ' ' <<<"$USERS"; }
