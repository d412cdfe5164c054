# shellcheck shell=bash
# The load balancer that a cluster with several control planes has in front of it: Debian's HAProxy, as a plain process in the machines'
# network, with an address of its own.

make_balancer() {
  APT_CONFIG='' mmdebstrap --mode=root --variant=apt --architectures="$HOST_ARCH" --include=haproxy \
    --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --keyring="$KEYRING" "$SUITE" "$1/root" "deb $(APT_CONFIG='' mirror) $SUITE main"
  # shellcheck disable=SC2016 # dpkg-query's own format
  dpkg-query --root="$1/root" -W -f '${Package} ${Version} ${Architecture}\n' >"$1/versions"
  cp "$LAB_HOME/balancer/haproxy.cfg" "$1/root/etc/haproxy/haproxy.cfg"
}

# balancer_up: a process like a machine's (see process).
balancer_up() {
  local pid tries=0
  locked "$CACHE/lock"
  host_packages
  artefact balancer make_balancer "$SUITE" "$(files_digest "$LAB_HOME/balancer")"
  exec 9>&-
  service_address balancer
  ! process balancer >/dev/null || return 0
  mkdir -p "$RUN/balancer"
  session -5 ip netns exec "$NETNS" chroot "$(path balancer)/root" /usr/sbin/haproxy -db -f /etc/haproxy/haproxy.cfg \
    </dev/null >"$RUN/balancer/log" 2>&1 &
  pid=$!
  echo "$pid $(started "$pid")" >"$RUN/balancer/pid"
  until [ -n "$(in_netns ss -Hlnt "src $(address balancer)")" ]; do
    { process balancer >/dev/null && [ $tries -lt 100 ]; } || die "the balancer does not listen; see $RUN/balancer/log"
    sleep 0.1
    tries=$((tries + 1))
  done
}
