package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/templates"
)

// askStaticPods runs the script over a made-up host.
func askStaticPods(t *testing.T, files map[string]string) []StaticPod {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", templates.Script("static-pods"), "sh", root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pods, err := parseStaticPods(out)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return pods
}

func TestStaticPods(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
	const dir = "var/log/pods/kube-system_kube-apiserver-x86-1_0123/kube-apiserver/"
	pods := askStaticPods(t, map[string]string{
		"etc/kubernetes/manifests/kube-apiserver.yaml": "", "etc/kubernetes/manifests/etcd.yaml": "", "etc/kubernetes/manifests/kube-scheduler.yaml": "",
		dir + "9.log":                 ago(time.Hour) + " stderr F nine, before ten\n",
		dir + "10.log":                ago(90*time.Second) + " stderr F starting\n" + ago(time.Second) + " stderr F still starting\n",
		dir + "9.log.20261129-110000": "rotated\n", dir + "x.log": "", dir + "99999999999999.log": "",
		dir + "8.log": "older\n",
		"var/log/pods/kube-system_etcd-x86-1_4567/etcd/0.log":          "",
		"var/log/pods/kube-system_etcd-x86-1_89ab/etcd/3.log":          ago(time.Minute) + " stderr F up\n",
		"var/log/pods/kube-system_coredns-x_1/coredns/7.log":           "not a static pod\n",
		"var/log/pods/default_kube-scheduler-x86-1_1/evil/7.log":       "another namespace\n",
		"var/log/pods/kube-system_kube-scheduler-x86-1_1/empty/readme": "",
	})
	if len(pods) != 2 {
		t.Fatalf("got %+v", pods)
	}
	etcd, api := pods[0], pods[1]
	if etcd.Name != "etcd" || etcd.Restarts != 3 || etcd.Last != nil || etcd.Since < time.Minute-5*time.Second {
		t.Errorf("got %+v", etcd)
	}
	if api.Name != "kube-apiserver" || api.Restarts != 10 || !reflect.DeepEqual(api.Last, []string{"nine, before ten"}) || api.Since > 3*time.Minute {
		t.Errorf("got %+v", api)
	}
}

func TestStaticPods_NoneAndNotYet(t *testing.T) {
	if pods := askStaticPods(t, nil); len(pods) != 0 {
		t.Errorf("a host without Kubernetes: %+v", pods)
	}
	if pods := askStaticPods(t, map[string]string{"etc/kubernetes/manifests/etcd.yaml": ""}); len(pods) != 0 {
		t.Errorf("before the kubelet has looked: %+v", pods)
	}
}

func TestParseStaticPods(t *testing.T) {
	const clock = "2026-11-29T11:00:00Z\n"
	for text, want := range map[string]string{
		"":         "begins with",
		"Welcome!": "begins with",
		clock:      "[]",
		clock + "etcd etcd 2 2026-11-29T10:59:00.5Z\n\t2026-11-29T10:58:00Z stderr F gone: \x1b[31mred\x1b]0;title\a\n": "[{etcd 2 59.5s [gone: ?[31mred?]0;title?]}]",
		clock + "etcd etcd 2 later\n":                                    "[{etcd 2 0s []}]",
		clock + "etcd etcd 2\n\ta\n\tb\n\t\n\tc\n\td\n":                  "[{etcd 2 0s [b c d]}]",
		clock + "etcd etcd -1 x\netcd etcd many x\netcd\n\tof none\n":    "[]",
		clock + "e\x1btcd etcd 1 x\n":                                    "[]",
		clock + "etcd etcd 2 2027-01-01T00:00:00Z\n":                     "[{etcd 2 0s []}]",
		clock + strings.Repeat("a b 1 x\n", 3) + "\tof the one before\n": "[{a 1 0s []}]",
	} {
		pods, err := parseStaticPods([]byte(text))
		if got := fmt.Sprint(pods, err); !strings.Contains(got, want) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "pod-%d c 1 x\n\t%s\n", i, strings.Repeat("long ", 100))
	}
	pods, err := parseStaticPods([]byte(clock + many.String()))
	if err != nil || len(pods) != maxStaticPods || len([]rune(pods[0].Last[0])) > maxWordsRunes+1 {
		t.Errorf("%d pods, %v", len(pods), err)
	}
}
