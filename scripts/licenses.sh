#!/bin/bash
# licenses.sh OUT: the licenses of everything that hybridctl is compiled of, in one file: each module with its version, then its license and
# notices, those that lie beside a package of it too. The sources of each are what the Go module proxy serves under that version.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
out=${1:?licenses.sh OUT}
modules=$(mktemp)
trap 'rm -f "$out.new" "$modules"' EXIT
for arch in amd64 arm64; do
  GOOS=linux GOARCH=$arch go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\t"}}{{.Dir}}{{"\t"}}{{$.Dir}}{{end}}{{end}}' ./cmd/hybridctl ./cmd/probe
done | sed '/^$/d' | LC_ALL=C sort -u >"$modules"
{
  printf 'hybridctl is compiled of Go and of the modules below. The sources of each are what the Go module proxy serves under its name and version.\n'
  printf '\n%s\n%s\n\n' "$(printf '=%.0s' {1..100})" "$(go env GOVERSION)"
  cat "$(go env GOROOT)/LICENSE"
  cut -f 1,2 "$modules" | uniq | while IFS=$'\t' read -r name top; do
    printf '\n%s\n%s\n' "$(printf '=%.0s' {1..100})" "$name"
    # from the folder of each package up to the module's own
    mapfile -t folders < <(awk -F '\t' -v name="$name" -v top="$top" '$1 == name { for (d = $3; length(d) >= length(top); sub("/[^/]*$", "", d)) if (!seen[d]++) print d }' "$modules")
    texts=$(find "${folders[@]}" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'unlicense*' -o -iname 'copying*' -o -iname 'notice*' \) ! -name '*.go' | LC_ALL=C sort)
    if [ -z "$texts" ]; then
      say "$name has no license file in $top: find out what it is under before it is handed to anyone"
      exit 1
    fi
    while read -r text; do
      printf '\n--- %s\n\n' "${text#"$top/"}"
      cat "$text"
    done <<<"$texts"
  done
} >"$out.new"
mv "$out.new" "$out"
say "$out: $(cut -f 1 "$modules" | uniq | wc -l) modules"
