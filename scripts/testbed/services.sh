# Every daemon by name: how to start and stop each. Sourced by `up`, `down`,
# `status`, `service`.
# shellcheck shell=bash

redis_answers() { [ "$(redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping)" = PONG ]; }

start_redis() {
  as redis redis-server "$ETC/redis.conf"
  spawn redis "$REDIS_PORT" "${AS[@]}"
  wait_ready redis 10 redis_answers
}

start_sshd() {
  /usr/sbin/sshd -t -f "$ETC/sshd_config" || die "sshd refuses its configuration"
  spawn sshd "$SSH_PORT" /usr/sbin/sshd -D -e -f "$ETC/sshd_config"
  wait_ready sshd 10 port_open "$SSH_PORT"
}

# in the order in which they are stopped
all_services() {
  echo sshd
  nodes | sed 's/^/slurmd./'
  echo slurmrestd slurmctld slurmdbd mariadbd munged redis ceph.rgw ceph.osd ceph.mon
}

start_service() { # start_service NAME
  case $1 in
    sshd | redis | munged | mariadbd | slurmdbd | slurmctld | slurmrestd) "start_$1" ;;
    slurmd.n*)
      start_slurmd "${1#slurmd.}"
      wait_ready "$1" 20 port_open $((SLURMD_PORT + ${1#slurmd.n}))
      ;;
    ceph.mon | ceph.osd | ceph.rgw) "start_ceph_${1#ceph.}" ;;
    *) die "no service $1; there are: $(all_services | tr '\n' ' ')" ;;
  esac
}

# stop_service NAME stop|stop_hard. sshd serves each connection in a child that
# outlives it: a host that goes down takes its connections along.
stop_service() {
  local name=$1 how=$2 sessions='' listener
  if [ "$name" = sshd ] && listener=$(pid_of sshd); then
    sessions=$(pgrep -P "$listener" || true)
  fi
  case $name in
    mariadbd | ceph.*) "$how" "$name" 60 ;;
    *) "$how" "$name" 20 ;;
  esac
  local session
  for session in $sessions; do kill -TERM "$session" 2>/dev/null || true; done
}
