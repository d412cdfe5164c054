# shellcheck shell=bash
# Running machines: the private network, starting and stopping, and ways in.

NETNS=hybridctl-lab
MACHINES=(x86-1 x86-2 arm-1 arm-2)
OPERATOR=10.99.0.1  # where hybridctl runs
SIDE_DOOR=10.99.0.2 # the lab's own address in the same namespace: it reaches every machine directly

# address NAME, arch NAME, user NAME: the lab's fixed facts.
address() {
  case $1 in
  x86-[12]) echo "10.99.0.1${1#x86-}" ;;
  arm-[12]) echo "10.99.0.2${1#arm-}" ;;
  ceph) echo 10.99.0.5 ;; # no machine, but processes of this host
  balancer) echo 10.99.0.6 ;; # likewise
  *) die "there is no machine \"$1\" (there are: ${MACHINES[*]} ceph balancer)" ;;
  esac
}
arch() { case $1 in x86-*) echo amd64 ;; *) echo arm64 ;; esac; }
user() { case $1 in x86-2) echo debian ;; *) echo root ;; esac; } # x86-2 refuses root
mac() { printf '52:54:00:99:00:%02x' "$(address "$1" | cut -d. -f4)"; }

in_netns() { ip netns exec "$NETNS" "$@"; }

# network: the namespace with one bridge. No route leaves it. Two addresses: the operator's has no route to arm-2, which must be
# reached through another machine; the side door has one.
network() {
  [ "$(id -u)" = 0 ] || die "machines need root: taps, a network namespace"
  [ -e "/run/netns/$NETNS" ] || ip netns add "$NETNS"
  in_netns ip link set lo up
  in_netns ip link show br0 >/dev/null 2>&1 && return
  in_netns ip link add br0 type bridge forward_delay 0
  in_netns ip address add "$OPERATOR/24" dev br0
  in_netns ip address add "$SIDE_DOOR/24" dev br0
  in_netns ip link set br0 up
  in_netns ip route add unreachable "$(address arm-2)/32"
  in_netns ip route add 10.99.0.0/24 dev br0 table 99
  in_netns ip rule add from "$SIDE_DOOR" lookup 99
}

# service_address NAME: of processes of this host, beside the operator's. Answers to arm-2 go by the side door's table, too.
service_address() {
  local address
  address=$(address "$1")
  ! in_netns ip -o address show dev br0 | grep -qF " $address/" || return 0
  in_netns ip address add "$address/24" dev br0
  in_netns ip rule add from "$address" lookup 99
}

# tap NAME: with every offload off, or large transfers to User Mode Linux stall.
tap() {
  in_netns ip link show "tap-$1" >/dev/null 2>&1 || in_netns ip tuntap add dev "tap-$1" mode tap
  in_netns ip link set "tap-$1" master br0 up
  in_netns ethtool -K "tap-$1" tso off gso off gro off tx off >/dev/null 2>&1 || true
}

# process NAME: the process id when the machine runs. The start time guards against a number used again. A process that ended has none,
# whether or not its parent asked how.
process() {
  local pid started
  [ -s "$RUN/$1/pid" ] || return 1
  read -r pid started <"$RUN/$1/pid"
  [ -n "$started" ] && [ "$(started "$pid")" = "$started" ] && echo "$pid"
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 !~ /^[ZX]/ { print $20 }'; }

# pristine NAME: a new disk with this machine's name, address and SSH host key.
pristine() {
  local name=$1 dir=$RUN/$1 id
  id=$dir/identity
  rm -rf "$dir/disk" "$id"
  mkdir -p "$id"
  cp --sparse=always --reflink=auto "$(path "disk-$(arch "$name")")/disk" "$dir/disk.new"
  echo "$name" >"$id/hostname"
  address "$name" >"$id/address"
  printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$(address "$name")" "$name" >"$id/hosts"
  install -m 600 "$KEYS/host-$name" "$id/key"
  install -m 644 "$KEYS/host-$name.pub" "$id/key.pub"
  {
    echo "write $id/hostname /etc/hostname"
    echo "write $id/hosts /etc/hosts"
    echo "write $id/address /etc/lab/address"
    echo "write $id/key /etc/ssh/ssh_host_ed25519_key"
    echo "write $id/key.pub /etc/ssh/ssh_host_ed25519_key.pub"
    if [ "$(user "$name")" != root ]; then
      echo 'PermitRootLogin no' >"$id/sshd" # read before lab.conf, and the first word counts
      echo "write $id/sshd /etc/ssh/sshd_config.d/10-no-root.conf"
    fi
  } >"$id/commands"
  sed -n 's,^write [^ ]* ,rm ,p' "$id/commands" | debugfs -w -f - "$dir/disk.new" >/dev/null 2>&1
  debugfs -w -f "$id/commands" "$dir/disk.new" >"$id/log" 2>&1
  [ "$(debugfs -R 'cat /etc/hostname' "$dir/disk.new" 2>/dev/null)" = "$name" ] || die "$name: its disk was not written; see $id/log"
  mv "$dir/disk.new" "$dir/disk"
}

# start NAME [WAY PROCESSORS MEMORY]: so, or as machines are to run now. One that an earlier lab started has a way alone.
start() {
  local name=$1 dir=$RUN/$1 way=${2:-} cpus=${3:-} memory=${4:-} arch pid
  ! process "$name" >/dev/null || return 0
  mkdir -p "$dir"
  [ -e "$dir/disk" ] || pristine "$name"
  tap "$name"
  rm -rf "$dir/uml"
  arch=$(arch "$name")
  [ -n "$way" ] || way=$(way "$arch") || exit
  [ -n "$cpus" ] || cpus=$(processors "$arch") || exit
  [ -n "$memory" ] || memory=$(memory "$arch") || exit
  echo "$way $cpus $memory" >"$dir/way"
  start_under "$way" "$name" "$cpus" "$memory" 9>&- &
  pid=$!
  echo "$pid $(started "$pid")" >"$dir/pid"
}

# start_again NAME…: cuts the power of machines and starts them as they ran, whatever machines are to run under now.
start_again() {
  local name was
  for name in "$@"; do
    was=()
    ! process "$name" >/dev/null || read -r -a was <"$RUN/$name/way"
    cut_power "$name"
    start "$name" "${was[@]}"
  done
}

# as_told NAME: ends the lab when the machine runs, and not as it would start now: no variable changes one that runs. Its size may
# be another where none is asked for.
as_told() {
  local name=$1 arch variable way was cpus memory
  process "$name" >/dev/null || return 0
  arch=$(arch "$name")
  variable=$(variable "$arch")
  way=$(way "$arch") || exit
  read -r was cpus memory <"$RUN/$name/way" # one that an earlier lab started has the way alone
  [ "$way" = "$was" ] || die "$name runs under $was, and $(label "$arch") machines are to run under $way now: \"$0 down $name\" first, or $variable=$was"
  is_size "${variable}_CPUS" "$cpus" "$name"
  is_size "${variable}_MEMORY" "$memory" "$name"
}
# is_size VARIABLE SIZE NAME
is_size() { [ "${!1:-$2}" = "${2:-${!1:-}}" ] || die "$1=${!1}, and $3 runs with $2: \"$0 down $3\" first"; }

# room NAME…: ends the lab when those that are still to start have no place for their memory. A file of a tmpfs that is full ends User
# Mode Linux at some later time.
room() {
  local name way kib=0 free
  for name in "$@"; do
    if [ "$(arch "$name")" != amd64 ] || process "$name" >/dev/null; then continue; fi
    way=$(way amd64) || exit
    [ "$way" != uml ] || kib=$((kib + $(numfmt --from=iec "$(memory amd64)") / 1024))
  done
  free=$(df -k --output=avail /dev/shm | tail -n 1)
  [ "$kib" -le "$free" ] || die "/dev/shm has $((free / 1024)) MiB left, and x86 machines under uml need $((kib / 1024)) there: \"mount -o remount,size=SIZE /dev/shm\", a smaller LAB_X86_MEMORY, or LAB_X86=tcg"
}

# session NICE COMMAND…: becomes the command, as the leader of a session of its own. Where the kernel shares processors out by session
# (sched_autogroup_enabled), the session's niceness counts and not the process's.
session() {
  # shellcheck disable=SC2016 # for the inner shell
  exec setsid bash -c '[ ! -e /proc/self/autogroup ] || echo "$0" >/proc/self/autogroup; exec nice -n "$0" "$@"' "$@"
}

# start_under WAY NAME PROCESSORS MEMORY: becomes the machine, the leader of its own session: whatever helpers it has go with it. It goes before builds
# beside it: a control plane that gets no time loses its leases. An emulated one goes first, as it needs longest for everything.
start_under() {
  local way=$1 name=$2 cpus=$3 memory=$4 dir=$RUN/$2 arch bus=pci
  arch=$(arch "$name")
  if [ "$way" = uml ]; then
    # Its own address resolution must not change with a reboot, so the hardware address is fixed.
    uml_command "$memory" "umid=$name" "uml_dir=$dir/uml/" "ubd0=$dir/disk" root=/dev/ubda rw rootfstype=ext4 \
      "vec0:transport=tap,ifname=tap-$name,depth=128,gro=1,mac=$(mac "$name")" systemd.show_status=0
    # On one processor, since its kernel and its programs take turns: to wake another processor for each system call takes longer.
    session -1 taskset -c $((${name##*-} % $(nproc))) ip netns exec "$NETNS" "${COMMAND[@]}" </dev/null >"$dir/console" 2>&1
  fi
  [ "$arch" = amd64 ] || bus=device # of the virt board's own
  qemu_command "$arch" "$way" "$cpus" "$memory" "net.ifnames=0 systemd.show_status=0" \
    -initrd "$(path "kernel-$arch")/initramfs.cpio" -serial "file:$dir/console" \
    -drive "if=none,id=disk,file=$dir/disk,format=raw,cache=unsafe,aio=threads" -device "virtio-blk-$bus,drive=disk" \
    -netdev "tap,id=net,ifname=tap-$name,script=no,downscript=no" -device "virtio-net-$bus,netdev=net,mac=$(mac "$name")" \
    -device "virtio-rng-$bus"
  session "$([ "$way" = tcg ] && echo -3 || echo -1)" ip netns exec "$NETNS" "${COMMAND[@]}" </dev/null >"$dir/qemu.log" 2>&1
}

# remote NAME [COMMAND…]: as the user who may log in.
remote() {
  local name=$1
  shift
  in_netns ssh -F none -b "$SIDE_DOOR" -i "$KEYS/id" -o IdentitiesOnly=yes -o UserKnownHostsFile="$KEYS/known_hosts" -o GlobalKnownHostsFile=/dev/null \
    -o StrictHostKeyChecking=yes -o LogLevel=ERROR -o ConnectTimeout="${SSH_TIMEOUT:-30}" -o ServerAliveInterval=15 \
    "$(user "$name")@$(address "$name")" "$@"
}

# as_root NAME COMMAND…: the same as root, with the password where sudo wants one.
as_root() {
  local name=$1
  shift
  if [ "$(user "$name")" = root ]; then
    remote "$name" "$@"
  else
    { cat "$KEYS/sudo-password"; [ -t 0 ] || cat; } | remote "$name" "sudo -S -p '' -- sh -c $(printf '%q' "$*")"
  fi
}

# slow NAME: how many times longer than on an ordinary host a machine that was started may take, as the last trial says; none is made.
slow() {
  local arch way n=
  arch=$(arch "$1")
  if [ -s "$RUN/$1/way" ] && [ -s "$(trial_file "$arch")" ]; then
    read -r way _ <"$RUN/$1/way"
    n=$(times_slower "$way" "$(trial_file "$arch")")
  fi
  echo "${n:-1}"
}

wait_up() {
  local name=$1 begin=$SECONDS slow limit next=60
  slow=$(slow "$name")
  limit=${LAB_BOOT_LIMIT:-$((600 * slow))}
  until SSH_TIMEOUT=$((5 * slow)) timeout $((20 * slow)) "$LAB_HOME/lab" ssh "$name" true </dev/null 2>/dev/null; do
    process "$name" >/dev/null || die "$name ended; see $RUN/$name/console"
    [ $((SECONDS - begin)) -lt "$limit" ] || die "$name does not answer after $((SECONDS - begin))s; see $RUN/$name/console"
    if [ $((SECONDS - begin)) -ge "$next" ]; then
      say "$name does not answer yet: $((SECONDS - begin))s of $limit"
      next=$((SECONDS - begin + 60))
    fi
    sleep 1
  done
  say "$name answers after $((SECONDS - begin))s"
}

# cut NAME: power off, as pulling the plug does. A process that waits for its kernel ends when that answers, or never.
cut_power() {
  local pid begin=$SECONDS
  pid=$(process "$1") || return 0
  kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
  while process "$1" >/dev/null; do
    [ $((SECONDS - begin)) -lt 60 ] || die "$1: its process $pid does not end, a minute after kill -9: this host's kernel holds it (state $(sed 's/.*) //' "/proc/$pid/stat" | cut -c1))"
    sleep 0.1
  done
  rm -f "$RUN/$1/pid"
}

stop() {
  local name=$1 pid slow begin
  pid=$(process "$name") || return 0
  slow=$(slow "$name")
  kill -CONT -- "-$pid" 2>/dev/null || true
  SSH_TIMEOUT=$((5 * slow)) timeout $((20 * slow)) "$LAB_HOME/lab" root "$name" 'sync; (sleep 0.5; systemctl poweroff -ff) >/dev/null 2>&1 &' </dev/null >/dev/null 2>&1 || true
  begin=$SECONDS
  while process "$name" >/dev/null && [ $((SECONDS - begin)) -lt $((15 * slow)) ]; do sleep 0.1; done
  ! process "$name" >/dev/null || say "$name does not power off: its power is cut, and what it had not written yet is lost"
  cut_power "$name"
}

# cluster NAME: of which cluster the machine's disk is a part, as hybridctl marks it: its name, and its authority's pin. Nothing when of
# none.
cluster() {
  local name=$1 mark
  if process "$name" >/dev/null; then
    mark=$(SSH_TIMEOUT=$((5 * $(slow "$name"))) as_root "$name" 'cat /var/lib/hybridctl/cluster 2>/dev/null || true' </dev/null) || die "$name runs, and does not answer: \"$0 wait $name\", or \"$0 down $name\""
  elif [ -e "$RUN/$name/disk" ]; then
    command -v debugfs >/dev/null || die "the disk of $name cannot be read: there is no debugfs (apt-get install e2fsprogs)"
    mark=$(debugfs -R 'cat /var/lib/hybridctl/cluster' "$RUN/$name/disk" 2>/dev/null)
  fi
  awk '$1 == "ca" { ca = $2 } $1 == "name" { name = $2 } END { if (name != "") print name, ca }' <<<"${mark:-}"
}

status() {
  local name pid disk way
  printf '%-6s %-11s %-6s %-4s %-7s %-8s %s\n' NAME ADDRESS ARCH WAY USER PROCESS DISK
  for name in "${MACHINES[@]}"; do
    way=-
    if pid=$(process "$name"); then read -r way _ <"$RUN/$name/way"; else pid=-; fi
    disk=pristine
    [ ! -e "$RUN/$name/disk" ] || disk="$(du -sh "$RUN/$name/disk" | cut -f1) $RUN/$name/disk"
    printf '%-6s %-11s %-6s %-4s %-7s %-8s %s\n' "$name" "$(address "$name")" "$(arch "$name")" "$way" "$(user "$name")" "$pid" "$disk"
  done
  ! pid=$(process balancer) || printf '%-6s %-11s %-6s %-4s %-7s %-8s %s\n' lb "$(address balancer)" - - haproxy "$pid" "$RUN/balancer"
  for name in "${CEPH_DAEMONS[@]}"; do
    ! pid=$(process "ceph/$name") || printf '%-6s %-11s %-6s %-4s %-7s %-8s %s\n' ceph "$(address ceph)" - - "$name" "$pid" "$RUN/ceph"
  done
}
