#!/bin/bash
# radosgw.sh extract
# radosgw.sh run PORT MONITOR_PORT
#
# A real S3 server with versioning, object lock, conditional writes and checksums: Ceph's radosgw 20 with one
# monitor and one OSD that keeps everything in memory. `extract` gets it from Debian forky's packages into
# target/parts/radosgw, once, about 20 seconds and 500 MB; nothing is installed. `run` does that too where it
# is missing, starts a new, empty server on 127.0.0.1:PORT, prints `ready` and serves until its standard input
# ends or it is ended; then nothing is left, also when whoever started it was killed. About 10 seconds.
# Two users: AKIATEST with secret `secrettest`, AKIAOTHER with secret `secretother`. Any region will do.
# Needs mmdebstrap (apt-get install) and root.
set -euo pipefail

verb=${1:?radosgw.sh extract | run PORT MONITOR_PORT}
root=$(cd "$(dirname "$0")/../.." && pwd)/target/parts/radosgw

fail() { echo "radosgw.sh: $1" >&2; exit 1; }

extract() {
  mkdir -p "$(dirname "$root")"
  exec 9>"$root.lock"
  flock 9
  # A server that runs must not keep the next one waiting.
  [ ! -x "$root/usr/bin/radosgw" ] || { exec 9>&-; return 0; }
  command -v mmdebstrap >/dev/null || fail "needs mmdebstrap (apt-get install mmdebstrap)"
  [ "$(id -u)" = 0 ] || fail "needs root"
  # Made beside its final place and moved there whole.
  local new=$root.new
  rm -rf "$new"
  mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=ceph-mon,ceph-osd,radosgw,ceph-common,libc6,dash,bash,coreutils,python3 forky "$new"
  local link
  for link in bin sbin lib lib64; do [ -e "$new/$link" ] || ln -s "usr/$link" "$new/$link"; done
  [ -e "$new/usr/bin/sh" ] || ln -s dash "$new/usr/bin/sh"
  mkdir -p "$new"/{proc,dev,tmp,data,root}
  [ -s "$new/etc/passwd" ] || echo 'root:x:0:0::/root:/bin/sh' >"$new/etc/passwd"
  [ -s "$new/etc/group" ] || echo 'root:x:0:' >"$new/etc/group"
  echo '127.0.0.1 localhost' >"$new/etc/hosts"
  local name minor
  while read -r name minor; do
    [ -e "$new/dev/$name" ] || mknod -m 666 "$new/dev/$name" c 1 "$minor"
  done <<<$'null 3\nzero 5\nrandom 8\nurandom 9'
  rm -rf "$new"/usr/share/{doc,man,locale} "$new/var/cache" "$new/var/lib/apt"
  mv "$new" "$root"
  exec 9>&-
}

case $verb in
  extract)
    extract
    exit
    ;;
  run) ;;
  *) fail "no verb \`$verb\`" ;;
esac

port=${2:?PORT} monitor_port=${3:?MONITOR_PORT}
[ "$(id -u)" = 0 ] || fail "needs root"
extract

dir=$(mktemp -d)
daemons=()
finish() {
  local status=$?
  trap - EXIT
  if [ "$status" != 0 ] && [ "$status" != 143 ]; then tail -n 15 "$dir"/*.log >&2 || true; fi
  for pid in "${daemons[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

# The packages' own root, with this server's directory as /data. Each in a mount namespace of its own: the
# mounts end with the process.
# shellcheck disable=SC2016 # For the inner shell.
enter='
  mount --bind "$1" "$0/data"; mount -t proc proc "$0/proc"; root=$0; shift
  exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C HOME=/root CEPH_CONF=/data/ceph.conf "$@"'
in_root() { unshare -m --propagation private bash -ec "$enter" "$root" "$dir" "$@"; }
start() {
  local name=$1
  shift
  setpriv --pdeathsig KILL unshare -m --propagation private bash -ec "$enter" "$root" "$dir" "$@" \
    >"$dir/$name.log" 2>&1 </dev/null &
  daemons+=($!)
}
# Tries the command until it succeeds, for half a minute, unless a server has ended.
until_it_works() {
  local _attempt pid
  for _attempt in $(seq 150); do
    for pid in "${daemons[@]}"; do kill -0 "$pid" 2>/dev/null || fail "a server ended"; done
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  fail "gave up waiting for: $*"
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

mkdir -p "$dir"/{run,mon.a,osd.0,rgw.a}
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$dir/ceph.conf" <<END
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$monitor_port]
mon_initial_members = a
public_addr = 127.0.0.1
keyring = /data/keyring
run_dir = /data/run
admin_socket =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
osd_memory_target = 1073741824
[mon]
mon_data = /data/mon.a
[osd]
osd_data = /data/osd.0
osd_objectstore = memstore
memstore_device_bytes = 17179869184
[client.rgw.a]
rgw_data = /data/rgw.a
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_sigv4_insecure = true
rgw_crypt_require_ssl = false
END

{
  in_root ceph-authtool --create-keyring /data/keyring --gen-key -n mon. --cap mon 'allow *'
  for name in client.admin osd.0 client.rgw.a; do
    in_root ceph-authtool /data/keyring --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  done
  in_root monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor_port]" /data/monmap
  in_root ceph-mon --mkfs -i a --keyring /data/keyring --monmap /data/monmap
} >"$dir/setup.log" 2>&1
start mon ceph-mon -i a -f
until_it_works answers "$monitor_port"
osd=$(cat /proc/sys/kernel/random/uuid)
until_it_works in_root ceph --connect-timeout 5 osd new "$osd"
in_root ceph-osd -i 0 --mkfs --osd-uuid "$osd" >>"$dir/setup.log" 2>&1
start osd ceph-osd -i 0 -f
until_it_works in_root ceph --connect-timeout 5 osd crush add osd.0 1.0 root=default host=vm
start rgw radosgw -n client.rgw.a -f
until_it_works answers "$port"
user() {
  in_root radosgw-admin user create --uid "$1" --display-name "$1" --access-key "$2" --secret "$3" \
    >>"$dir/setup.log" 2>&1
}
user test AKIATEST secrettest
user other AKIAOTHER secretother

echo ready
# Whoever started this holds the other end; it closes when they end, in whatever way.
cat >/dev/null
