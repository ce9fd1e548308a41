# Directories, keys and configuration files. Sourced by `up`.
# shellcheck shell=bash

owned_dir() { # owned_dir OWNER MODE DIR...
  local owner=$1 mode=$2
  shift 2
  mkdir -p "$@"
  chown "$owner:" "$@"
  chmod "$mode" "$@"
}

make_directories() {
  # (/run/sshd and /run/munge are systemd's work elsewhere)
  owned_dir root 755 "$ETC" "$LOG" "$PIDS" "$ROOT/slurm" "$CEPH" /run/sshd
  owned_dir slurm 755 "$RUN" "$ROOT/slurm/ctld"
  owned_dir munge 755 "$ROOT/munge" /run/munge
  owned_dir redis 750 "$ROOT/redis"
  owned_dir ceph 755 "$CEPH"/{mon,osd,run,log}
  touch "$LOG/slurmctld.log" "$LOG/slurmdbd.log"
  chown slurm: "$LOG/slurmctld.log" "$LOG/slurmdbd.log"
}

secret() { # secret FILE COMMAND...: the command's output, made once, for root only
  local file=$1
  shift
  [ -s "$file" ] || (umask 077 && "$@" >"$file.new" && mv "$file.new" "$file")
}

make_secrets() {
  secret "$ETC/munge.key" openssl rand 1024
  chown munge: "$ETC/munge.key"
  chmod 400 "$ETC/munge.key"
  # Slurm reads it as bytes; a text is easier to hand on
  secret "$ETC/jwt.key" openssl rand -hex 32
  chown slurm: "$ETC/jwt.key"
  chmod 400 "$ETC/jwt.key"
  secret "$ETC/db.password" openssl rand -hex 16
  secret "$ETC/s3.secret" openssl rand -hex 20
  local key
  for key in user_ca ssh_host_ed25519_key; do
    [ -s "$ETC/$key" ] || ssh-keygen -q -t ed25519 -N '' -C "testbed $key" -f "$ETC/$key"
  done
  [ -e "$ETC/revoked_keys" ] || : >"$ETC/revoked_keys"
  printf '[127.0.0.1]:%s %s\n' "$SSH_PORT" "$(cut -d' ' -f1,2 "$ETC/ssh_host_ed25519_key.pub")" \
    >"$ETC/known_hosts"
}

# render TEMPLATE TARGET [MODE [OWNER]]: replace each @NAME@ by the variable's
# value; names of files that changed are added to CHANGED.
CHANGED=
render() {
  local text name
  text=$(cat "$HERE/conf/$1")
  for name in $(grep -o '@[A-Z0-9_]*@' "$HERE/conf/$1" | tr -d @ | sort -u); do
    text=${text//"@$name@"/"${!name}"}
  done
  (umask 077 && printf '%s\n' "$text" >"$2.new")
  chown "${4:-root}:" "$2.new"
  chmod "${3:-644}" "$2.new"
  if cmp -s "$2.new" "$2"; then
    rm -f "$2.new"
  else
    mv -f "$2.new" "$2"
    CHANGED="$CHANGED ${2##*/} "
  fi
}

# shellcheck disable=SC2034  # the templates use the variables
make_config() {
  local node number=0 NODE_LINES='' DB_PASSWORD FSID
  for node in $(nodes); do
    number=$((number + 1))
    NODE_LINES+="NodeName=$node NodeHostname=$node NodeAddr=127.0.0.1 Port=$((SLURMD_PORT + number))"$'\n'
  done
  DB_PASSWORD=$(cat "$ETC/db.password")
  secret "$CEPH/fsid" cat /proc/sys/kernel/random/uuid
  FSID=$(cat "$CEPH/fsid")

  render slurm.conf.in "$ETC/slurm.conf"
  render cgroup.conf.in "$ETC/cgroup.conf"
  # slurmdbd refuses to start if others could read its file
  render slurmdbd.conf.in "$ETC/slurmdbd.conf" 600 slurm
  render sshd_config.in "$ETC/sshd_config"
  render redis.conf.in "$ETC/redis.conf"
  render ceph.conf.in "$CEPH/ceph.conf"
  render rsvmgmt.in "$ETC/rsvmgmt" 755
  : >>"$ETC/plugstack.conf"

  # so that plain sbatch, squeue... work for every user
  local file
  mkdir -p /etc/slurm
  for file in slurm.conf slurmdbd.conf cgroup.conf; do
    if [ -e /etc/slurm/$file ] && [ ! -L /etc/slurm/$file ]; then
      mv /etc/slurm/$file /etc/slurm/$file.before-testbed
    fi
    ln -sfn "$ETC/$file" /etc/slurm/$file
  done
}

# What runs with an old configuration is stopped; `up` starts it again.
stop_changed() {
  local name
  case $CHANGED in *' slurm.conf '* | *' cgroup.conf '*)
    for name in $(nodes); do stop "slurmd.$name" 10; done
    stop slurmrestd 10
    stop slurmctld 20
    ;;
  esac
  case $CHANGED in *' slurmdbd.conf '*) stop slurmdbd 20 ;; esac
  case $CHANGED in *' sshd_config '*) stop sshd 5 ;; esac
  case $CHANGED in *' redis.conf '*) stop redis 20 ;; esac
  case $CHANGED in *' ceph.conf '*) for name in ceph.rgw ceph.osd ceph.mon; do stop $name 20; done ;; esac
}

# The file tests read: plain KEY=value lines, no quoting needed.
write_env() {
  local pair name
  (
    umask 077 # it holds a secret
    {
      for pair in $SETTINGS; do
        name=${pair%%=*}
        echo "TESTBED_$name=${!name}"
      done
      echo "FIRECREST_TESTBED_ROOT=$ROOT"
      echo "TESTBED_PIDS=$PIDS"
      echo "TESTBED_LOGS=$LOG"
      echo "TESTBED_SERVICE=$HERE/service"
      echo "TESTBED_SSH_HOST=127.0.0.1"
      echo "TESTBED_SSH_CA=$ETC/user_ca"
      echo "TESTBED_KNOWN_HOSTS=$ETC/known_hosts"
      echo "TESTBED_REVOKED_KEYS=$ETC/revoked_keys"
      echo "TESTBED_SSHD_CONFIG=$ETC/sshd_config"
      echo "TESTBED_SSHD_PID_FILE=$RUN/sshd.pid"
      echo "TESTBED_SSHD_LOG=$LOG/sshd.out"
      echo "TESTBED_RESERVATION_TOOL=$ETC/rsvmgmt"
      echo "TESTBED_REDIS_HOST=127.0.0.1"
      echo "TESTBED_S3_URL=http://127.0.0.1:$S3_PORT"
      echo "TESTBED_S3_SECRET_KEY=$(cat "$ETC/s3.secret")"
      echo "TESTBED_SLURMRESTD_URL=http://127.0.0.1:$SLURMRESTD_PORT"
      echo "TESTBED_SLURM_JWT_KEY=$ETC/jwt.key"
      echo "TESTBED_GROUP=$GROUP"
      echo "TESTBED_ACCOUNTS=proj01,proj02"
      echo "TESTBED_PARTITIONS=part01,part02,debug,xfer"
      echo "SLURM_CONF=$ETC/slurm.conf"
    } >"$ENV_FILE.new"
  )
  mv "$ENV_FILE.new" "$ENV_FILE"
}
