#!/bin/sh
# static-pods.sh [ROOT]: how often the containers of this host's static pods were started, and the last words of the run before the
# present one. It changes nothing.
#
# The kubelet names the log of a container's run by how often it was started again: NAMESPACE_POD_UID/CONTAINER/N.log, and keeps that
# of the run before. So neither the API server nor the runtime has to answer. First the clock; then a line for each container,
# "pod container N TIME", with the time of the first line of that run's log; then its last words, each behind a tab.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=${1:-}
date -u +%Y-%m-%dT%H:%M:%SZ
for manifest in "$root"/etc/kubernetes/manifests/*.yaml; do
	pod=${manifest##*/}
	pod=${pod%.yaml}
	for container in "$root"/var/log/pods/kube-system_"$pod"-*/*/; do
		last=
		for log in "$container"*.log; do
			n=${log##*/}
			n=${n%.log}
			case $n in '' | *[!0-9]* | ??????????*) continue ;; esac
			[ -z "$last" ] || [ "$n" -gt "$last" ] || continue
			last=$n
		done
		[ -n "$last" ] || continue
		begun=
		read -r begun rest <"$container$last.log" || :
		name=${container%/}
		printf '%s %s %s %s\n' "$pod" "${name##*/}" "$last" "$begun"
		[ "$last" -gt 0 ] || continue
		before=$container$((last - 1)).log
		[ ! -f "$before" ] || tail -c 8192 "$before" | tail -n 6 | cut -c 1-400 | sed 's/^/	/'
	done
done
exit 0
