# munge, MariaDB and the daemons of Slurm. Sourced by `up`, `down`, `service`.
# shellcheck shell=bash

export SLURM_CONF=$ETC/slurm.conf

munge_works() { munge -n | unmunge >/dev/null; }

start_munged() {
  # munge's default socket: another one (AuthInfo=socket=...) would not reach
  # the connections between sacctmgr and slurmdbd. One munged that is already
  # there serves as well.
  alive munged || ! munge_works 2>/dev/null || return 0
  as munge munged --foreground --force --key-file="$ETC/munge.key" --num-threads=4 \
    --pid-file="$ROOT/munge/munged.pid" --seed-file="$ROOT/munge/munged.seed" \
    --log-file="$ROOT/munge/munged.log"
  spawn munged 0 "${AS[@]}"
  wait_ready munged 10 munge_works
}

sql() { mariadb --no-defaults --socket="$ROOT/mysql/sock" --user=root "$@"; }

start_mariadbd() {
  if [ ! -e "$ROOT/mysql/.complete" ]; then
    rm -rf "$ROOT/mysql" # half made
    owned_dir mysql 755 "$ROOT/mysql"
    mariadb-install-db --no-defaults --user=mysql --datadir="$ROOT/mysql" --skip-test-db \
      --auth-root-authentication-method=socket >"$LOG/mysql-install.log" 2>&1 ||
      die "mariadb-install-db: see $LOG/mysql-install.log"
    : >"$ROOT/mysql/.complete"
  fi
  spawn mariadbd "$DB_PORT" mariadbd --no-defaults --user=mysql --datadir="$ROOT/mysql" \
    --socket="$ROOT/mysql/sock" --pid-file="$ROOT/mysql/pid" \
    --bind-address=127.0.0.1 --port="$DB_PORT" --skip-name-resolve --skip-log-bin \
    --innodb-buffer-pool-size=256M --innodb-log-file-size=64M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 --max-allowed-packet=64M
  wait_ready mariadbd 60 sql -e 'select 1'
  local password
  password=$(cat "$ETC/db.password")
  sql --batch <<SQL || die "mariadb: the grants for slurmdbd failed"
create database if not exists slurm_acct_db;
create user if not exists 'slurm'@'127.0.0.1';
alter user 'slurm'@'127.0.0.1' identified by '$password';
grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';
SQL
}

start_slurmdbd() {
  as slurm slurmdbd -D # reads slurmdbd.conf beside $SLURM_CONF
  spawn slurmdbd "$SLURMDBD_PORT" "${AS[@]}"
  wait_ready slurmdbd 60 port_open "$SLURMDBD_PORT"
  wait_ready slurmdbd 30 sacctmgr -n list cluster
}

# Accounts proj01 (default) and proj02 for every user. A file remembers it:
# sacctmgr is slow.
add_accounts() {
  local wanted="$CLUSTER $USERS" user
  [ "$(cat "$ROOT/slurm/accounts" 2>/dev/null)" != "$wanted" ] || return 0
  sacctmgr -n list cluster format=cluster%40 | grep -qw "$CLUSTER" ||
    sacctmgr -i add cluster "$CLUSTER" >/dev/null || die "sacctmgr: add cluster"
  sacctmgr -n list account format=account%40 | grep -qw proj01 ||
    sacctmgr -i add account proj01,proj02 Cluster="$CLUSTER" >/dev/null || die "sacctmgr: add account"
  for user in $(users); do
    sacctmgr -n list assoc user="$user" format=account%40 | grep -qw proj01 ||
      sacctmgr -i add user "$user" account=proj01,proj02 DefaultAccount=proj01 \
        Cluster="$CLUSTER" >/dev/null || die "sacctmgr: add user $user"
  done
  echo "$wanted" >"$ROOT/slurm/accounts"
}

slurmctld_up() { scontrol ping | grep -q UP; }

start_slurmctld() {
  as slurm slurmctld -D -f "$ETC/slurm.conf"
  spawn slurmctld "$SLURMCTLD_PORT" "${AS[@]}"
  wait_ready slurmctld 30 slurmctld_up
}

start_slurmd() { # start_slurmd NODE
  local node=$1
  mkdir -p "$ROOT/slurm/d.$node"
  # a UTS namespace of its own: `hostname` in a job says n1, n2... as elsewhere
  spawn "slurmd.$node" $((SLURMD_PORT + ${node#n})) \
    unshare --uts -- sh -c "hostname $node && exec slurmd -D -N $node -f '$ETC/slurm.conf'"
}

# It refuses to run as root or as SlurmUser, and asks with the tokens of its callers only.
start_slurmrestd() {
  spawn slurmrestd "$SLURMRESTD_PORT" setpriv --reuid=nobody --regid=nogroup --clear-groups \
    env SLURM_JWT=daemon slurmrestd -a rest_auth/jwt -s openapi/v0.0.38 \
    "127.0.0.1:$SLURMRESTD_PORT"
  wait_ready slurmrestd 10 port_open "$SLURMRESTD_PORT"
}

nodes_ready() {
  [ "$(sinfo -h -N -p part01 -t idle,mixed,alloc,comp -o %N | sort -u | wc -l)" = "$NODES" ]
}

wait_nodes() {
  local try
  for ((try = 1; try <= 300; try++)); do
    if nodes_ready; then return 0; fi
    # a node that was DOWN when everything was killed is not resumed by itself
    if ((try % 50 == 25)); then scontrol update nodename="n[1-$NODES]" state=resume 2>/dev/null || true; fi
    sleep 0.1
  done
  die "nodes are not ready: $(sinfo -h -N -p part01 -o '%N %T' | tr '\n' ' ')(logs in $LOG)"
}

start_slurm() {
  local node
  start_munged
  start_mariadbd
  lap mariadb
  start_slurmdbd
  lap slurmdbd
  add_accounts
  lap accounts
  start_slurmctld
  lap slurmctld
  start_slurmrestd
  lap slurmrestd
  for node in $(nodes); do start_slurmd "$node"; done
  wait_nodes
  lap slurmd
}

# slurmstepd processes belong to jobs: Slurm must end them before its daemons go.
end_jobs() {
  local try
  alive slurmctld || return 0
  local state
  for state in PENDING RUNNING SUSPENDED; do timeout 10 scancel -Q -t $state || true; done
  for ((try = 0; try < 100; try++)); do
    [ -n "$(timeout 5 squeue -h -t PD,R,S,CG 2>/dev/null)" ] || return 0
    sleep 0.1
  done
}
