# shellcheck shell=bash
# A Ceph cluster for the machines: a monitor, a manager, an OSD on a sparse file and a metadata server out of Debian's packages, as
# plain processes in the machines' network, with an address of their own.

CEPH_PACKAGES=(ceph-mon ceph-mgr ceph-osd ceph-mds ceph-common)
CEPH_DAEMONS=(mon.a mgr.x osd.0 mds.m) # in the order of their start
CEPH_POOL=kube
CEPH_FS=kubefs
CEPH_GROUP=csi # the subvolume group; a CSI driver does not make it

# make_ceph: a root file system with the packages, and two changes that Debian 13's manager needs (Ceph 18.2 and Python 3.13, with an
# interpreter per module):
# - mgr_util imports bcrypt, which refuses to load in a second interpreter, and every module fails with it. Only the dashboard's
#   passwords need it: a stand-in goes first on the path.
# - librbd calls Python's progress callback from a thread of its own, and the manager dies of it at the first "rbd task add", which is
#   how a CSI driver deletes an image. It feeds a progress bar, no more.
make_ceph() {
  local out=$1 root=$1/root include modules=$1/root/usr/share/ceph/mgr
  include=$(IFS=,; echo "${CEPH_PACKAGES[*]}")
  APT_CONFIG='' mmdebstrap --mode=root --variant=apt --architectures="$HOST_ARCH" --include="$include" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --keyring="$KEYRING" "$SUITE" "$root" "deb $(APT_CONFIG='' mirror) $SUITE main"
  # shellcheck disable=SC2016 # dpkg-query's own format
  dpkg-query --root="$root" -W -f '${Package} ${Version} ${Architecture}\n' >"$out/versions"
  sed -i 's/on_progress=partial(self.progress_callback, task)/on_progress=None/' "$modules/rbd_support/task.py"
  grep -q on_progress=None "$modules/rbd_support/task.py"
  printf '%s\n' 'def gensalt(*args, **kwargs):' "    raise RuntimeError('there is no bcrypt here')" '' '' 'hashpw = checkpw = gensalt' >"$modules/bcrypt.py"
  mkdir "$root/ceph"
}

# in_ceph COMMAND…: in the machines' network and Ceph's root file system, where $RUN/ceph is /ceph. Each of these commands becomes
# the next, so that the caller's child is the last one, and no one else sees the mounts.
in_ceph() { in_netns unshare -m --propagation private bash -c "$CEPH_ENTER" - "$(path ceph)/root" "$RUN/ceph" "$@"; }
# shellcheck disable=SC2016 # the inner shell's
CEPH_ENTER='set -e; root=$1; mount --bind "$2" "$root/ceph"; mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"; mount --bind /sys "$root/sys"
  cd /; shift 2; exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 CEPH_CONF=/ceph/ceph.conf "$@"'

# ceph_command ARGUMENT…: a command for the manager waits for ever while there is none.
ceph_command() { in_ceph timeout 60 ceph --connect-timeout 20 "$@"; }

# ceph_daemon TYPE.ID: a process like a machine's (see process), ahead of builds beside it as they are.
ceph_daemon() {
  local type=${1%.*} id=${1#*.} pid
  ! process "ceph/$1" >/dev/null || return 0
  rm -f "$RUN/ceph/run/$1.asok"
  session -5 ip netns exec "$NETNS" unshare -m --propagation private bash -c "$CEPH_ENTER" - "$(path ceph)/root" "$RUN/ceph" \
    "ceph-$type" -f -i "$id" </dev/null >>"$RUN/ceph/log/$1.out" 2>&1 9>&- &
  pid=$!
  echo "$pid $(started "$pid")" >"$RUN/ceph/$1/pid"
}

# ceph_up: a cluster that is not there, or was not finished, is made.
ceph_up() {
  local begin daemon next=60
  locked "$CACHE/lock"
  host_packages
  artefact ceph make_ceph "$SUITE" "${CEPH_PACKAGES[*]}"
  exec 9>&-
  service_address ceph
  [ -e "$RUN/ceph/complete" ] || { ceph_reset && ceph_create; }
  ceph_keys
  begin=$SECONDS
  for daemon in "${CEPH_DAEMONS[@]}"; do ceph_daemon "$daemon"; done
  until ceph_ready; do
    for daemon in "${CEPH_DAEMONS[@]}"; do
      process "ceph/$daemon" >/dev/null || die "ceph: $daemon ended; see $RUN/ceph/log/$daemon.log and .out beside it"
    done
    if [ $((SECONDS - begin)) -ge "$next" ]; then
      say "ceph is not ready yet: $((SECONDS - begin))s of ${LAB_BOOT_LIMIT:-300}"
      next=$((SECONDS - begin + 60))
    fi
    [ $((SECONDS - begin)) -lt "${LAB_BOOT_LIMIT:-300}" ] || die "ceph is not ready after $((SECONDS - begin))s: \"$0 ceph ceph -s\" tells more; its logs are in $RUN/ceph/log"
    sleep 1
  done
  say "ceph serves after $((SECONDS - begin))s"
}

# ceph_ready: health alone is good before the placement groups and the metadata server are.
ceph_ready() {
  ceph_command health 2>/dev/null | grep -qE '^HEALTH_(OK|WARN)' &&
    ceph_command osd stat 2>/dev/null | grep -qE '\b1 up\b' &&
    ceph_command pg stat 2>/dev/null | grep -qE '^([0-9]+) pgs: \1 active\+clean' &&
    ceph_command mds stat 2>/dev/null | grep -q up:active
}

ceph_create() (
  local daemon
  umask 077
  mkdir -p "$RUN"/ceph/{run,log,crash}
  for daemon in "${CEPH_DAEMONS[@]}"; do mkdir -p "$RUN/ceph/$daemon/data"; done
  sed "s/ADDRESS/$(address ceph)/g" "$LAB_HOME/ceph/ceph.conf" >"$RUN/ceph/ceph.conf"
  logged ceph-create ceph_bootstrap
  touch "$RUN/ceph/complete"
)

ceph_fsid() { sed -n 's/^fsid = //p' "$LAB_HOME/ceph/ceph.conf"; }

ceph_bootstrap() {
  local address monitor osd
  address=$(address ceph)
  monitor="[v2:$address:3300,v1:$address:6789]"
  in_ceph ceph-authtool --create-keyring /ceph/client.admin.keyring --gen-key -n client.admin \
    --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *'
  in_ceph ceph-authtool --create-keyring /ceph/mon.keyring --gen-key -n mon. --cap mon 'allow *'
  in_ceph ceph-authtool /ceph/mon.keyring --import-keyring /ceph/client.admin.keyring
  in_ceph monmaptool --create --addv a "$monitor" --fsid "$(ceph_fsid)" /ceph/monmap
  in_ceph ceph-mon --mkfs -i a --monmap /ceph/monmap --keyring /ceph/mon.keyring
  cp "$RUN/ceph/mon.keyring" "$RUN/ceph/mon.a/data/keyring"
  ceph_daemon mon.a
  ceph_command auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o /ceph/mgr.x.keyring
  ceph_daemon mgr.x

  osd=$(cat /proc/sys/kernel/random/uuid)
  in_ceph ceph-authtool --create-keyring /ceph/osd.0.keyring --gen-key -n osd.0
  printf '{"cephx_secret": "%s"}' "$(ceph_key osd.0)" >"$RUN/ceph/osd.json"
  ceph_command osd new "$osd" -i /ceph/osd.json
  rm "$RUN/ceph/osd.json"
  in_ceph ceph-osd -i 0 --mkfs --osd-uuid "$osd"
  ceph_daemon osd.0

  ceph_command auth get-or-create mds.m mon 'profile mds' mgr 'profile mds' osd 'allow *' mds 'allow *' -o /ceph/mds.m.keyring
  ceph_daemon mds.m
  ceph_pools
  ceph_users
}

# ceph_pools: what an administrator makes for a cluster that is to have volumes.
ceph_pools() {
  local tries=0
  ceph_command osd pool create "$CEPH_POOL"
  ceph_command osd pool application enable "$CEPH_POOL" rbd
  ceph_command osd pool create "${CEPH_FS}_metadata"
  ceph_command osd pool create "${CEPH_FS}_data"
  ceph_command fs new "$CEPH_FS" "${CEPH_FS}_metadata" "${CEPH_FS}_data"
  until ceph_command fs subvolumegroup create "$CEPH_FS" "$CEPH_GROUP"; do # the manager's modules come later than itself
    tries=$((tries + 1))
    [ $tries -lt 60 ] || return 1
    sleep 1
  done
}

# ceph_users: one per driver, with the least it can do with.
ceph_users() {
  ceph_command auth get-or-create client.csi-rbd mon 'profile rbd' mgr "profile rbd pool=$CEPH_POOL" osd "profile rbd pool=$CEPH_POOL" \
    -o /ceph/client.csi-rbd.keyring
  ceph_command auth get-or-create client.csi-cephfs mon "allow r fsname=$CEPH_FS" mgr 'allow rw' \
    osd "allow rw tag cephfs metadata=$CEPH_FS, allow rw tag cephfs data=$CEPH_FS" \
    mds "allow r fsname=$CEPH_FS path=/volumes, allow rws fsname=$CEPH_FS path=/volumes/$CEPH_GROUP" -o /ceph/client.csi-cephfs.keyring
}

# ceph_keys: the users' keys beside the lab's other ones, at the fixed paths that the lab's inventories name.
ceph_keys() {
  local user
  mkdir -p "$KEYS" "$REPO/bin"
  chmod 700 "$KEYS"
  for user in csi-rbd csi-cephfs; do
    ceph_key "client.$user" | install -m 600 /dev/stdin "$KEYS/$user.key"
    ln -sfn "$KEYS/$user.key" "$REPO/bin/lab-$user.key"
  done
}

# ceph_key ENTITY: out of its keyring.
ceph_key() { awk '$1 == "key" { print $3 }' "$RUN/ceph/$1.keyring"; }

# ceph_down: in the reverse order, with time to finish.
ceph_down() {
  local i name pid tries
  for ((i = ${#CEPH_DAEMONS[@]} - 1; i >= 0; i--)); do
    name=ceph/${CEPH_DAEMONS[i]} tries=0
    pid=$(process "$name") || continue
    kill -CONT -- "-$pid"
    kill -TERM -- "-$pid"
    while process "$name" >/dev/null && [ $tries -lt 100 ]; do
      sleep 0.1
      tries=$((tries + 1))
    done
    cut_power "$name"
  done
}

# ceph_reset: the cluster with all that was written to it; the next one has keys of its own.
ceph_reset() {
  local daemon
  for daemon in "${CEPH_DAEMONS[@]}"; do cut_power "ceph/$daemon"; done
  rm -rf "$RUN/ceph"
}

# ceph_env: what an inventory wants to know of it, as a shell's assignments.
ceph_env() {
  local address
  address=$(address ceph)
  [ -e "$RUN/ceph/complete" ] || die "there is no Ceph cluster yet: \"$0 up ceph\""
  printf '%s\n' "CEPH_FSID=$(ceph_fsid)" "CEPH_MONITORS=$address:6789" "CEPH_MONITORS_V2=$address:3300" \
    "CEPH_RBD_POOL=$CEPH_POOL" CEPH_RBD_USER=csi-rbd "CEPH_RBD_KEY_FILE=$KEYS/csi-rbd.key" \
    "CEPH_FS_NAME=$CEPH_FS" "CEPH_SUBVOLUME_GROUP=$CEPH_GROUP" CEPH_CEPHFS_USER=csi-cephfs "CEPH_CEPHFS_KEY_FILE=$KEYS/csi-cephfs.key"
}
