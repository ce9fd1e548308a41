# Users of the cluster, and the names of its nodes. Sourced by `up`.
# shellcheck shell=bash

GROUP=hpcusers   # all users share it; beside it each user has a group of its own
FIRST_UID=5001

create_users() {
  local user uid=$FIRST_UID
  getent group $GROUP >/dev/null || groupadd --gid 5000 $GROUP
  for user in $(users); do
    if getent passwd "$user" >/dev/null; then
      id -nG "$user" | grep -qw $GROUP ||
        die "user $user exists and is not the testbed's (not in group $GROUP); choose other TESTBED_USERS"
    else
      useradd --create-home --shell /bin/bash --uid $uid --user-group --groups $GROUP "$user"
    fi
    # useradd leaves '!' as password, which sshd takes as a locked account and
    # refuses even with a good certificate; '*' is "no password"
    case $(getent shadow "$user" | cut -d: -f2) in
      '!'*) usermod --password '*' "$user" ;;
    esac
    chmod 0700 "$(getent passwd "$user" | cut -d: -f6)"
    uid=$((uid + 1))
  done
}

# slurmd and srun bind to the address their host's name resolves to, so the
# names of this host and of all nodes must be loopback addresses. The line goes
# first, to win over an address that a container's /etc/hosts gives the host; the
# file is rewritten in place, for it may be a mount.
name_nodes() {
  local mark='# firecrest-testbed' line rest
  line="127.0.0.1 localhost $HOST $(nodes | tr '\n' ' ')$mark"
  [ "$(head -n 1 /etc/hosts)" = "$line" ] || {
    rest=$(grep -v "$mark\$" /etc/hosts || true)
    printf '%s\n%s\n' "$line" "$rest" >/etc/hosts
  }
  local address
  address=$(getent ahostsv4 "$HOST" | awk 'NR == 1 { print $1 }')
  [ "$address" = 127.0.0.1 ] || die "$HOST must resolve to 127.0.0.1, not to '$address' (see /etc/hosts)"
}
