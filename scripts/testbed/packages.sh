# Debian packages. Sourced by `up` and by scripts/test.
# shellcheck shell=bash

# The daemons, and what commands and jobs on the cluster use (curl, file, ...); load balancers
# before the gateway, and what installs and checks it (python3-venv, systemd, promtool); the
# browser of the tests of the console.
# shellcheck disable=SC2034  # used by `up`
PACKAGES="openssh-server openssh-client munge
 slurmctld slurmd slurmdbd slurmrestd slurm-client
 slurm-wlm-basic-plugins slurm-wlm-mysql-plugin slurm-wlm-jwt-plugin
 mariadb-server redis-server redis-tools
 ceph-mon ceph-osd radosgw ceph-common
 nginx haproxy prometheus python3-venv systemd iproute2
 openssl procps curl ca-certificates file tar gzip bzip2 xz-utils unzip
 chromium fonts-dejavu-core"

missing_packages() { # missing_packages PACKAGE...
  local package
  for package in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
      ii* | hi*) ;;
      *) echo "$package" ;;
    esac
  done
}

APT_LOG=${APT_LOG:-/var/log/firecrest-testbed-apt.log}

apt() { # quiet, without questions; waits for another apt to finish
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io \
    "$@" >>"$APT_LOG" 2>&1 9>&-
}

install_packages() { # install_packages PACKAGE...: fails by naming what is missing
  local -a missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null; then
    die "needs Debian with apt-get; without it these packages are missing: ${missing[*]}"
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"

  (
    # Debian starts a package's daemon as soon as it is installed (on ports 22,
    # 3306, 6379...) unless this file says no
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
      trap 'rm -f $policy' EXIT
      printf '#!/bin/sh\nexit 101\n' >$policy
      chmod 755 $policy
    fi
    # package lists may be absent, or too old to find the files they name
    apt install --no-install-recommends "${missing[@]}" ||
      { apt update && apt install --no-install-recommends "${missing[@]}"; }
  ) || true # what counts is what is there now

  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] ||
    die "these packages could not be installed: ${missing[*]}
$(grep -E '^(E|W|Err):' "$APT_LOG" | tail -n 8)
(all of it: $APT_LOG)"
}
