package e2e

import (
	"os/exec"
	"testing"
)

// What the lab builds for Arm runs on an Arm operator's own processor as well, which may lack what emulated machines have.
func TestLabPayload_RunsOnTheOperatorsProcessor(t *testing.T) {
	const script = `set -euo pipefail
uname() { echo "$OPERATOR"; }
nice() { shift 2; "$@"; }
go() { echo "$GOARCH $GOARM64"; }
LAB_HOME=lab
. lab/lib/common.sh
. lab/lib/payload.sh
for arch in "${ARCHES[@]}"; do go_build . "$arch" out | tail -n 1; done`
	for operator, want := range map[string]string{
		"aarch64": "amd64 v8.0\narm64 v8.0\n",
		"x86_64":  "amd64 v8.1\narm64 v8.1\n",
	} {
		cmd := exec.Command("bash", "-c", script)
		cmd.Env = append(cmd.Environ(), "OPERATOR="+operator)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s", operator, err, out)
		}
	}
}
