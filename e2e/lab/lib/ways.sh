# shellcheck shell=bash
# Ways to run a machine: kvm (QEMU, the processor's own virtualization), tcg (QEMU, emulated), uml (User Mode Linux). Each architecture's
# machines run under the quickest one that this host has; LAB_X86 and LAB_ARM say otherwise.

# The cost of a way is what starting 200 processes takes and LOOP_WEIGHT times what the trial's loop takes. A node computes as much as it
# starts processes: with this weight the costs stand to each other as the minutes of "hybridctl up" did on a host with both ways
# (uml 6.9 s and 0.2 s: 4:40; tcg 1.0 s and 2.7 s: 6:57).
LOOP_WEIGHT=3
TRIAL_LIMIT=60 # seconds; a way that takes longer is none

label() { case $1 in amd64) echo x86 ;; *) echo Arm ;; esac; }
variable() { case $1 in amd64) echo LAB_X86 ;; *) echo LAB_ARM ;; esac; }
has_uml() { [ "$1/$HOST_ARCH" = amd64/amd64 ]; }

# ways ARCH: what machines of this architecture can run under at all.
ways() { case $1 in amd64) echo kvm tcg uml ;; *) echo kvm tcg ;; esac; }

# wanted ARCH: what the user says, checked.
wanted() {
  local name value way
  name=$(variable "$1")
  value=${!name:-}
  [ -n "$value" ] || return 0
  for way in $(ways "$1"); do [ "$way" != "$value" ] || { echo "$way"; return; }; done
  misuse "$name=$value: $(label "$1") machines run under one of: $(ways "$1")"
}

# sized ARCH: what the user says of a machine's processors and memory, checked. A number alone is bytes to one way and megabytes to others.
sized() {
  local name
  name=$(variable "$1")_CPUS
  [[ ${!name:-1} =~ ^[1-9][0-9]*$ ]] || misuse "$name=${!name}: how many processors a machine has, such as 2"
  name=$(variable "$1")_MEMORY
  [[ ${!name:-1G} =~ ^[1-9][0-9]*[MG]$ ]] || misuse "$name=${!name}: how much memory a machine has, with M or G, such as 3072M"
}

# lacks WAY ARCH: why this host cannot, as far as can be told without a trial; nothing when it may.
lacks() {
  local shm
  case $1 in
  uml)
    if ! has_uml "$2"; then
      echo "User Mode Linux runs on x86 hosts only"
    else
      shm=$(df -k --output=size /dev/shm 2>/dev/null | tail -n 1)
      [ "${shm:-0}" -ge 2097152 ] || echo "/dev/shm is for $((${shm:-0} / 1024)) MiB, and a machine's memory, 2048 at least, lies there"
    fi
    ;;
  kvm)
    if [ "$2" != "$HOST_ARCH" ]; then
      echo "the processor of this host is no $(label "$2") one"
    elif [ ! -e /dev/kvm ]; then
      echo "this host has no /dev/kvm"
    else
      # KVM_GET_API_VERSION of linux/kvm.h, _IO(0xAE, 0x00); it has been 12 since Linux 2.6.22
      perl -e 'open(my $kvm, "+<", "/dev/kvm") or do { print "/dev/kvm does not open: $!"; exit };
        my $version = ioctl($kvm, 0xAE00, 0) // 0;
        print "/dev/kvm answers with the API version ", $version + 0, ", not 12" if $version != 12'
    fi
    ;;
  esac
}

# What a kernel does for the safety of others costs an emulated one most.
QUICK_KERNEL='mitigations=off audit=0 psi=0 init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off'

# qemu_command ARCH WAY PROCESSORS MEMORY APPEND [ARGUMENT…]: sets COMMAND. APPEND is what else its kernel is told.
qemu_command() {
  local arch=$1 way=$2 cpus=$3 memory=$4 append=$5 accel=kvm cpu=host machine
  shift 5
  case $arch in
  amd64)
    machine=q35,hpet=off
    # no_timer_check, tsc=reliable: an emulated clock must not be judged by how late a busy host is.
    append="console=ttyS0 nokaslr pti=off no_timer_check tsc=reliable $append"
    [ "$way" = kvm ] || cpu=Nehalem,+aes,+pclmulqdq,+sha-ni,+x2apic,+rdrand # x86-64-v2, and what checksums and cryptography use
    ;;
  arm64)
    machine=virt,gic-version=host
    # nokaslr with kpti=0: kernel randomisation alone forces page-table isolation on.
    append="console=ttyAMA0 nokaslr kpti=0 rodata=off $append"
    [ "$way" = kvm ] || machine=virt,gic-version=3 cpu=neoverse-n1
    ;;
  esac
  [ "$way" = kvm ] || accel=tcg,thread=multi,tb-size=1024
  COMMAND=("$(path qemu)/qemu" "$arch" -M "$machine" -cpu "$cpu" -smp "$cpus" -m "$memory" -accel "$accel" -nodefaults -nographic
    -kernel "$(path "kernel-$arch")/vmlinuz" -append "quiet loglevel=4 $QUICK_KERNEL $append" "$@")
}

# uml_command MEMORY [ARGUMENT…]: sets COMMAND. TMPDIR is where the machine's memory is: a tmpfs.
uml_command() {
  local memory=$1
  shift
  COMMAND=(env TMPDIR=/dev/shm "$(path uml)/linux" "mem=$memory" con=null "con0=null,fd:1" ssl=null loglevel=4 "$@")
}

# trial WAY ARCH: starts a kernel with nothing but a shell, and prints what its 200 processes and its loop took, in seconds; or a dash
# and why it did not.
trial() {
  local way=$1 arch=$2 dir begin=$SECONDS pid times why
  why=$(lacks "$way" "$arch")
  [ -z "$why" ] || { echo "- $why"; return; }
  dir=$(mktemp -d)
  : >"$dir/log"
  case $way in
  uml) uml_command 512M "initrd=$(path "kernel-$arch")/trial.cpio" "umid=trial$$" "uml_dir=$dir/" ;;
  *) qemu_command "$arch" "$way" 2 512M '' -initrd "$(path "kernel-$arch")/trial.cpio" -serial stdio -no-reboot ;;
  esac
  setsid "${COMMAND[@]}" </dev/null >>"$dir/log" 2>&1 9>&- &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && ! trial_times "$dir/log" >/dev/null; do
    if grep -qa 'KVM internal error' "$dir/log"; then why="Debian's kernel does not start under it (KVM internal error)" && break; fi
    if [ $((SECONDS - begin)) -ge "$TRIAL_LIMIT" ]; then why="it did not end a trial within $TRIAL_LIMIT s" && break; fi
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  if ! times=$(trial_times "$dir/log"); then
    times="- ${why:-its kernel ended: $(tail -n 1 "$dir/log" | tr -dc '[:print:]' | cut -c1-120)}"
  fi
  rm -rf "$dir"
  echo "$times"
}
# tried WAY ARCH: a trial; what interrupts it ends its machine, too, and deletes its folder.
tried() (
  local pid='' dir='' # the trial's own in a trap
  trap '[ -z "$pid" ] || kill -KILL -- "-$pid" "$pid" 2>/dev/null; rm -rf "$dir"; exit 130' INT TERM HUP
  trial "$@"
)
# trial_times LOG: out of what the console showed.
trial_times() { awk '$1 ~ /lab-trial$/ { printf "%.2f %.2f\n", $3 - $2, $4 - $3; found = 1 } END { exit !found }' "$1"; }

# share: how much of this host's processors this process may take, in per cent of one; nothing when no cgroup that it is in limits it.
share() {
  local all least quota period group file id controllers
  all=$(($(nproc) * 100))
  least=$all
  while IFS=: read -r id controllers group; do # of /proc/self/cgroup: each hierarchy, and version 2's with the number 0
    while :; do
      quota=max period=1
      if [ "$id" = 0 ]; then
        for file in /sys/fs/cgroup{,/unified}"$group/cpu.max"; do [ ! -r "$file" ] || read -r quota period <"$file"; done
      elif [[ ",$controllers," = *,cpu,* ]]; then
        file=/sys/fs/cgroup/cpu$group
        if [ -r "$file/cpu.cfs_quota_us" ]; then read -r quota <"$file/cpu.cfs_quota_us" && read -r period <"$file/cpu.cfs_period_us"; fi
      fi
      if [[ $quota =~ ^[0-9]+$ ]] && [ $((quota * 100 / period)) -lt "$least" ]; then least=$((quota * 100 / period)); fi
      [ -n "${group%/}" ] || break
      group=${group%/*}
    done
  done </proc/self/cgroup
  [ "$least" = "$all" ] || echo "$least"
}

# trial_file ARCH: what keeps its result; where less than the whole host is for the machines, another one.
trial_file() {
  local share
  share=$(share)
  echo "$CACHE/ways/$1${share:+-$share}"
}

# trial_key ARCH: what a trial's result is good for: this host and these kernels. It fails while they are not there.
trial_key() {
  local arch=$1 name names=(qemu "kernel-$1")
  ! has_uml "$arch" || names+=(uml)
  for name in "${names[@]}"; do [ -e "$CACHE/current/$name" ] || return; done
  { uname -srm; nproc; grep -m 1 -E 'model name|CPU part' /proc/cpuinfo; ls -l /dev/kvm 2>/dev/null; declare -f trial qemu_command uml_command
    for name in "${names[@]}"; do key "$name"; done; } | digest
}

# tried_already ARCH: whether a trial's result is there. is_of FILE KEY: whether it is that one's.
tried_already() {
  local key
  key=$(trial_key "$1") && is_of "$(trial_file "$1")" "$key"
}
is_of() {
  local key
  [ -e "$1" ] && read -r key <"$1" && [ "$key" = "$2" ]
}

# measured ARCH: the file with a line for each way, "WAY PROCESSES LOOP" or "WAY - why not". A trial of seconds makes it.
measured() {
  local arch=$1 way file key
  file=$(trial_file "$arch")
  key=$(trial_key "$arch") || die "nothing is built yet that a trial could start: run \"$0 build\""
  if ! is_of "$file" "$key"; then
    mkdir -p "$CACHE/ways"
    say "trying what $(label "$arch") machines run under best …"
    {
      echo "$key"
      for way in $(ways "$arch"); do echo "$way $(tried "$way" "$arch")"; done
    } >"$file.new"
    mv "$file.new" "$file"
  fi
  echo "$file"
}

# way ARCH: the way to take, and quickest ARCH the one that the trial found.
way() {
  local arch=$1 way file why
  way=$(wanted "$arch") || exit
  file=$(measured "$arch") || exit
  if [ -n "$way" ]; then
    why=$(awk -v way="$way" '$1 == way && $2 == "-" { sub(/^[a-z]+ - /, ""); print }' "$file")
    [ -z "$why" ] || die "$(variable "$arch")=$way: this host cannot run $(label "$arch") machines under $way: $why"
  else
    way=$(quickest "$file")
    [ -n "$way" ] || die "this host cannot run $(label "$arch") machines at all: $(tail -n +2 "$file" | sed 's/ - /: /' | paste -sd ';')"
  fi
  echo "$way"
}
quickest() { awk -v weight="$LOOP_WEIGHT" 'NR > 1 && $2 != "-" { cost = $2 + weight * $3; if (best == "" || cost < least) { best = $1; least = cost } } END { print best }' "$1"; }

# way_told ARCH: in one line, which way and why.
way_told() {
  local arch=$1 way
  way=$(way "$arch") || exit
  awk -v way="$way" -v label="$(label "$arch")" -v wanted="$(wanted "$arch")" -v variable="$(variable "$arch")" '
    NR == 1 { next }
    $1 == way { mine = $2; loop = $3; next }
    $2 == "-" { why = $0; sub(/^[a-z]+ - /, "", why); rest = rest "; not " $1 ": " why; next }
    { others = others sprintf("; %s s and %s s under %s", $2, $3, $1) }
    END { printf "%s machines run under %s%s: 200 processes take %s s there, and computing %s s%s%s\n", label, way, wanted == "" ? "" : " (" variable ")", mine, loop, others, rest }' "$(measured "$arch")"
}

# slowness ARCH: how many times longer than on an ordinary host the machines take, between 1 and 6: there, 200 processes take 3 s. Time
# limits are multiplied by it.
slowness() {
  local way
  way=$(way "$1") || exit
  times_slower "$way" "$(measured "$1")"
}
times_slower() { awk -v way="$1" '$1 == way { n = int($2 / 3 + 0.5); print (n < 1 ? 1 : n > 6 ? 6 : n) }' "$2"; }

# patience: the same for whatever machines take part.
patience() {
  local arch n most=1
  for arch in "${ARCHES[@]}"; do
    n=$(slowness "$arch") || exit
    [ "$n" -le "$most" ] || most=$n
  done
  echo "$most"
}

# processors ARCH, memory ARCH: of a machine, as the way and this host carry them. kubeadm wants two processors. User Mode Linux has one.
processors() {
  local arch=$1 n way given=LAB_X86_CPUS
  [ "$arch" = amd64 ] || given=LAB_ARM_CPUS
  [ -z "${!given:-}" ] || { echo "${!given}"; return; }
  way=$(way "$arch") || exit
  n=$(nproc)
  case $way in
  uml) echo 1 ;;
  tcg) echo $((n < 2 ? 2 : n > 4 ? 4 : n)) ;;
  kvm) echo $((n < 2 ? 2 : n > 8 ? 8 : n)) ;;
  esac
}
# Two machines at a time are what the lab is made for; the rest is for the operator and the emulators' own use.
memory() {
  local arch=$1 all way given=LAB_X86_MEMORY most=4096
  [ "$arch" = amd64 ] || given=LAB_ARM_MEMORY
  [ -z "${!given:-}" ] || { echo "${!given}"; return; }
  way=$(way "$arch") || exit
  [ "$way" != uml ] || most=3072 # on a tmpfs, and its kernel holds no more than that well
  all=$(awk '/^MemTotal/ { print int(($2 / 1024 - 3072) / 3) }' /proc/meminfo)
  echo "$((all < 2048 ? 2048 : all > most ? most : all))M"
}

# inventory NAME: the path of the lab's inventory of that name as the machines of now need it. The one under inventories/ is for whole
# kernels on an ordinary host. Where x86 machines run under User Mode Linux, what its kernel lacks is let pass; where machines are slow,
# time limits are longer: then another one beside it is written. Both have the same cluster name, and so the same state.
inventory() {
  local name=$1 dir=$REPO/inventories from to machine way slow
  from=$dir/$name.yaml
  [ -e "$from" ] || misuse "there is no inventory \"$name\" for the lab (there are: $(find "$dir" -name 'lab-*.yaml' ! -name '*.lab.yaml' -printf '%f\n' | sort | sed 's/\.yaml$//' | paste -sd ' '))"
  for machine in "${MACHINES[@]}"; do ! grep -q "{name: $machine," "$from" || as_told "$machine"; done
  way=$(way amd64) || exit
  slow=$(patience) || exit
  if [ "$way" != uml ] && [ "$slow" = 1 ]; then
    echo "inventories/$name.yaml"
    return
  fi
  to=$dir/$name.lab.yaml
  {
    echo "# Written by e2e/lab/lab of $name.yaml: x86 machines run under $way, and time limits are $slow times as long."
    limits "$slow" <"$from" | { if [ "$way" = uml ]; then for_uml; else cat; fi; }
  } >"$to.new"
  mv "$to.new" "$to"
  echo "inventories/$name.lab.yaml"
}
# limits FACTOR: minutes of every field that is a limit of time.
limits() {
  perl -pe 'BEGIN { $n = shift } s/^(\s+(?:controlPlaneComponentHealthCheck|kubeletHealthCheck|kubernetesAPICall|etcdAPICall|tlsBootstrap|discovery|commandTimeout): )(\d+)m$/$1 . $2 * $n . "m"/e;
    s/^(  timeouts: \{step: )(\d+)m(, ready: )(\d+)m\}/$1 . $2 * $n . "m$3" . $4 * $n . "m}"/e' "$1"
}
# for_uml: it has one processor, no cpuset controller (preflight "cgroup" too), and its modules no configuration to read.
for_uml() {
  sed -E -e 's/^  kubernetes:$/&\n    ignorePreflightErrors: [NumCPU, Mem, SystemVerification]/' \
    -e 's/^(    - \{name: x86-[0-9]+,.*)\}$/\1, preflight: {ignore: [cgroup]}}/'
}
