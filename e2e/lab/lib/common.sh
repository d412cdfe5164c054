# shellcheck shell=bash
# What every part of the lab shares: versions, places, progress, and artefacts keyed by their inputs.
# shellcheck disable=SC2034 # the other files use them

# What is made and measured depends neither on the user's language (a decimal comma, an order of names) nor on the umask.
export LC_ALL=C
umask 022

KUBERNETES=v1.36.3 # with etcd, CoreDNS and pause as its kubeadm's constants name them
ETCD=3.6.8-0
COREDNS=v1.14.2
PAUSE=3.10.2
FLANNEL=v0.28.4
REPOSITORY=lab.test/kube # never resolved: every image comes from the bundle

SUITE=trixie           # the machines' Debian
UML_SUITE=bookworm     # User Mode Linux 6.1: later ones have no iptables that kube-proxy can use
QEMU_SUITE=trixie-backports
NEWER_SUITE=sid        # containerd, runc and the CNI plugins only: kubelet 1.36 wants containerd 2

# Architectures as Debian and Go call them. The operator's own is the host's; machines are of every one.
ARCHES=(amd64 arm64)
case $(uname -m) in
x86_64) HOST_ARCH=amd64 ;;
aarch64) HOST_ARCH=arm64 ;;
*) HOST_ARCH=none ;;
esac
# triplet ARCH: what library folders are called. loader ARCH: the dynamic loader.
triplet() { case $1 in amd64) echo x86_64-linux-gnu ;; *) echo aarch64-linux-gnu ;; esac; }
loader() { case $1 in amd64) echo ld-linux-x86-64.so.2 ;; *) echo ld-linux-aarch64.so.1 ;; esac; }

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hybridctl/lab
RUN=$CACHE/run
KEYS=$CACHE/keys
REPO=$(cd "$LAB_HOME/../.." && pwd)

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
misuse() { say "$*"; exit 2; }

# digest: the first half of the SHA-256 of standard input.
digest() { sha256sum | cut -c1-32; }

# files_digest PATH…: of the contents of files, or of whole folders; where they lie does not matter.
files_digest() {
  local p
  for p in "$@"; do
    if [ -d "$p" ]; then (cd "$p" && find . -type f -print0 | sort -z | xargs -0 sha256sum); else sha256sum <"$p"; fi
  done | digest
}

# artefact NAME FUNCTION [INPUT…]: makes $CACHE/NAME-<key> with FUNCTION (which gets the empty folder to fill as its argument)
# unless it is there; the key is the digest of the function's text and of the inputs. `path NAME` is the finished folder.
artefact() {
  local name=$1 make=$2 key dir
  shift 2
  key=$({ declare -f "$make"; printf '%s\n' "$@"; } | digest | cut -c1-12)
  dir=$CACHE/$name-$key
  if [ ! -d "$dir" ]; then
    rm -rf "$dir.part"
    mkdir -p "$dir.part"
    logged "$name" "$make" "$dir.part"
    mv "$dir.part" "$dir"
  fi
  mkdir -p "$CACHE/current"
  ln -sfn "../$name-$key" "$CACHE/current/$name"
  rm -f "$LEFT/$name"
}

path() { readlink -f "$CACHE/current/$1"; }
# key NAME: what an artefact that is made from NAME gives as input.
key() { basename "$(path "$1")"; }

# logged NAME COMMAND…: runs it with its output in a file, a line of progress each minute, and the end of the file on failure. It is a
# process group of its own, which ends with this shell.
logged() {
  local name=$1 log=$CACHE/logs/$1.log start=$SECONDS pid rc=0 next=60
  shift
  mkdir -p "$CACHE/logs"
  say "$name …"
  trap 'end_groups $!' EXIT
  set -m
  (set +m; set -euo pipefail; "$@") >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - start)) -ge "$next" ]; then
      say "$name … ${next}s: $(tail -n 1 "$log" | tr -dc '[:print:]' | cut -c1-100)"
      next=$((next + 60))
    fi
  done
  wait "$pid" || rc=$?
  trap - EXIT
  if [ "$rc" != 0 ]; then
    tail -n 30 "$log" >&2
    die "$name failed after $((SECONDS - start))s; all of its output is in $log"
  fi
  rm -f "$LEFT/$name"
  [ ! -d "$LEFT" ] || echo "$name $((SECONDS - start))" >>"$LEFT/.made"
  say "$name done in $((SECONDS - start))s$(left)"
}

# What a build has still to come to: a file for each of its artefacts, which goes when the artefact is there.
LEFT=$CACHE/left
# plan NAME…: these are what the build makes.
plan() {
  rm -rf "$LEFT"
  mkdir -p "$LEFT"
  (cd "$LEFT" && touch "$@" .made)
}
left() {
  local names
  names=$(find "$LEFT" -type f ! -name '.*' -printf '%f ' 2>/dev/null) || true
  [ -z "$names" ] || printf '; left: %s' "${names% }"
}

# lanes FUNCTION…: runs them side by side, each in a process group of its own. The first that fails ends the others.
lanes() {
  local lane ended rc=0
  local -A running=()
  set -m
  for lane in "$@"; do
    (set +m; set -euo pipefail; "$lane") &
    running[$!]=1
  done
  set +m
  # shellcheck disable=SC2064 # the lanes of now
  trap "end_groups ${!running[*]}" EXIT
  while [ ${#running[@]} != 0 ]; do
    wait -n -p ended "${!running[@]}" || rc=$?
    [ "$rc" = 0 ] || exit "$rc"
    unset "running[$ended]"
  done
  trap - EXIT
}
# end_groups LEADER…: process groups; those of a lane that is in one of its own steps end that one's as they end.
end_groups() {
  local pid
  for pid in "$@"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
}

# locked FILE: one builder at a time.
locked() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock -n 9 || { say "another build is running, waiting for it"; flock 9; }
}
