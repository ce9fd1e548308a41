# The smallest real Ceph with an S3 gateway: one mon, one OSD (bluestore on a
# sparse file), radosgw; no mgr. Sourced by `up`, `down`, `service`.
# shellcheck shell=bash

ceph_cli() { ceph -c "$CEPH/ceph.conf" -k "$CEPH/admin.keyring" --connect-timeout 10 "$@"; }
rgw_admin() { radosgw-admin -c "$CEPH/ceph.conf" -n client.rgw -k "$CEPH/rgw.keyring" "$@"; }
as_ceph() { setpriv --reuid=ceph --regid=ceph --clear-groups "$@"; }

make_ceph_mon() {
  [ ! -e "$CEPH/mon/.complete" ] || return 0
  rm -rf "$CEPH/mon" "$CEPH/mon.keyring" "$CEPH/admin.keyring" # half made
  owned_dir ceph 755 "$CEPH/mon"
  ceph-authtool --create-keyring "$CEPH/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool --create-keyring "$CEPH/admin.keyring" --gen-key -n client.admin \
    --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-authtool "$CEPH/mon.keyring" --import-keyring "$CEPH/admin.keyring"
  monmaptool --create --clobber --addv a "[v1:127.0.0.1:$CEPH_MON_PORT]" \
    --fsid "$(cat "$CEPH/fsid")" "$CEPH/monmap"
  chown ceph: "$CEPH/mon.keyring" "$CEPH/admin.keyring" "$CEPH/monmap"
  as_ceph ceph-mon -c "$CEPH/ceph.conf" --mkfs -i a --monmap "$CEPH/monmap" --keyring "$CEPH/mon.keyring"
  as_ceph touch "$CEPH/mon/.complete"
}

start_ceph_mon() {
  make_ceph_mon >>"$LOG/ceph.mon.out" 2>&1 || die "ceph: mon cannot be made, see $LOG/ceph.mon.out"
  as ceph ceph-mon -c "$CEPH/ceph.conf" -i a -f
  spawn ceph.mon "$CEPH_MON_PORT" "${AS[@]}"
  wait_ready ceph.mon 30 ceph_cli mon stat
}

make_ceph_osd() {
  [ ! -e "$CEPH/osd/.complete" ] || return 0
  local uuid key
  rm -rf "$CEPH/osd" # half made
  owned_dir ceph 755 "$CEPH/osd"
  uuid=$(cat /proc/sys/kernel/random/uuid)
  key=$(ceph-authtool --gen-print-key)
  printf '{"cephx_secret":"%s"}' "$key" | ceph_cli osd new "$uuid" 0 -i -
  ceph-authtool --create-keyring "$CEPH/osd/keyring" -n osd.0 --add-key "$key"
  chown ceph: "$CEPH/osd/keyring"
  as_ceph ceph-osd -c "$CEPH/ceph.conf" -i 0 --mkfs --osd-uuid "$uuid"
  as_ceph touch "$CEPH/osd/.complete"
}

osd_up() { ceph_cli osd stat | grep -q '1 up'; }

start_ceph_osd() {
  make_ceph_osd >>"$LOG/ceph.osd.out" 2>&1 || die "ceph: OSD cannot be made, see $LOG/ceph.osd.out"
  as ceph ceph-osd -c "$CEPH/ceph.conf" -i 0 -f
  spawn ceph.osd 0 "${AS[@]}"
  wait_ready ceph.osd 60 osd_up
}

s3_answers() { curl -s -o /dev/null "http://127.0.0.1:$S3_PORT/"; }

start_ceph_rgw() {
  if [ ! -s "$CEPH/rgw.keyring" ]; then
    ceph_cli auth get-or-create client.rgw mon 'allow rw' osd 'allow rwx' mgr 'allow rw' -o "$CEPH/rgw.keyring"
    chown ceph: "$CEPH/rgw.keyring"
  fi
  as ceph radosgw -c "$CEPH/ceph.conf" -n client.rgw -f
  spawn ceph.rgw "$S3_PORT" "${AS[@]}"
  wait_ready ceph.rgw 60 s3_answers
}

add_s3_user() {
  local secret
  secret=$(cat "$ETC/s3.secret")
  [ "$(cat "$CEPH/s3-user" 2>/dev/null)" != "$S3_ACCESS_KEY" ] || return 0
  rgw_admin user rm --uid testbed --purge-data >/dev/null 2>&1 || true
  rgw_admin user create --uid testbed --display-name testbed --max-buckets 10000 \
    --access-key "$S3_ACCESS_KEY" --secret-key "$secret" >"$LOG/s3-user.out" 2>&1 ||
    die "ceph: the S3 user cannot be made, see $LOG/s3-user.out"
  echo "$S3_ACCESS_KEY" >"$CEPH/s3-user"
}

start_ceph() {
  start_ceph_mon
  lap ceph-mon
  start_ceph_osd
  lap ceph-osd
  start_ceph_rgw
  lap ceph-rgw
  add_s3_user
  lap ceph-user
}
