package host

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzAnswers: what a host's scripts print is the host's word. What of it goes to a terminal is bounded and plain.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05Z\nkube-apiserver kube-apiserver 3 2026-01-02T03:04:00.5Z\n\t2026 stderr F words \x1b[2J\n"))
	f.Add([]byte("features 0x3d\nabsent rbd modprobe: FATAL\nmonitor 10.0.0.1:6789 63657068\nasked a\nsaid (exit status 124)\nlog libceph: x\n"))
	f.Add([]byte("REF TYPE DIGEST\nregistry.k8s.io/pause:3 application/x sha256:00 1 MiB\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pods, _ := parseStaticPods(text)
		if len(pods) > maxStaticPods {
			t.Errorf("%d pods", len(pods))
		}
		for _, p := range pods {
			if p.Restarts < 0 || p.Since < 0 || len(p.Last) > maxLastWords {
				t.Errorf("%+v", p)
			}
			for _, line := range append(p.Last, p.Name) {
				if strings.ContainsFunc(line, unicode.IsControl) {
					t.Errorf("%q", line)
				}
			}
		}
		for id, a := range parseCephSaid(string(text)).Answers {
			if a.Text != "" && a.Errno == "" {
				t.Errorf("%q: %+v", id, a)
			}
		}
		for ref, digest := range parseImages(text) {
			if ref == "" || !strings.HasPrefix(digest, "sha256:") {
				t.Errorf("%q %q", ref, digest)
			}
		}
	})
}
