#!/bin/bash
# verify-shell.sh: shellcheck over every shell script, those that run on hosts included.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
command -v shellcheck >/dev/null || {
  say 'shellcheck is not there: "apt-get install shellcheck"'
  exit 1
}
git ls-files -co --exclude-standard | while read -r file; do
  case $file in
  *.tmpl | */testdata/*) continue ;; # a template is no script yet
  *.sh) echo "$file" ;;
  *) [ ! -f "$file" ] || ! head -c 64 "$file" | head -n 1 | grep -qaE '^#!.*\b(ba|da)?sh\b' || echo "$file" ;;
  esac
done | xargs shellcheck -x
