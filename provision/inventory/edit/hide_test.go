package edit

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cephKey is a key of Ceph whose secret is one byte, many times.
func cephKey(secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00" + strings.Repeat(secret, 16)))
}

// Each edit with the lines of its difference that hold something hidden.
func TestDiff_HidesKeys(t *testing.T) {
	a, b, c := cephKey("a"), cephKey("b"), cephKey("c")
	const file = "keyFile: rbd.key"
	const class = "spec.storage.ceph.rbd"
	inline := func(key string) string { return strings.Replace(stored, file, "key: "+key, 1) }
	another := Set(class+".pool", "x")
	both := strings.Replace(inline(a), "\n  hosts:", "\n      cephfs: {fsName: f, user: u, key: "+b+", storageClass: fs}\n  hosts:", 1)
	several := strings.NewReplacer("      fsid", "    - fsid",
		"\n  hosts:", "\n    - {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5c, monitors: ['10.0.1.5:6789'], rbd: {pool: p, user: u, key: "+b+", storageClass: far}}\n  hosts:").Replace(inline(a))
	for _, test := range []struct {
		name, text string
		edits      []Edit
		want       string
	}{
		{"beside what changes", inline(a), []Edit{another}, "         key: (hidden)"},
		{"another key", inline(a), []Edit{Set(class+".key", b)}, "-        key: (hidden)\n+        key: \"(hidden, another)\""},
		{"in quotes", inline("'" + a + "' # mine"), []Edit{Set(class+".key", b)}, "-        key: '(hidden)' # mine\n+        key: '(hidden, another)' # mine"},
		{"in place of a file", stored, []Edit{Set(class+".key", a), Unset(class + ".keyFile")}, "+        key: \"(hidden)\""},
		{"only its quotes", inline(a), []Edit{Set(class+".key", a)}, "-        key: (hidden)\n+        key: \"(hidden)\""},
		{"it goes", inline(a), []Edit{Unset("spec.storage")}, "-        key: (hidden)"},
		{"in brackets", both, []Edit{Set("spec.storage.ceph.cephfs.fsName", "g")}, "         key: (hidden)\n" +
			"-      cephfs: {fsName: f, user: u, key: (hidden), storageClass: fs}\n+      cephfs: {fsName: g, user: u, key: (hidden), storageClass: fs}"},
		{"one of two", both, []Edit{Set("spec.storage.ceph.cephfs.key", c)}, "         key: (hidden)\n" +
			"-      cephfs: {fsName: f, user: u, key: (hidden), storageClass: fs}\n+      cephfs: {fsName: f, user: u, key: \"(hidden, another)\", storageClass: fs}"},
		{"that of the other class", strings.Replace(both, b, "'"+b+"'", 1), []Edit{Set("spec.storage.ceph.cephfs.key", a)}, "         key: (hidden)\n" +
			"-      cephfs: {fsName: f, user: u, key: '(hidden)', storageClass: fs}\n+      cephfs: {fsName: f, user: u, key: '(hidden)', storageClass: fs}"},
		{"in a list of clusters", several, []Edit{Set("spec.storage.ceph[1].rbd.pool", "q")}, "         key: (hidden)\n" +
			"-    - {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5c, monitors: ['10.0.1.5:6789'], rbd: {pool: p, user: u, key: (hidden), storageClass: far}}\n" +
			"+    - {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5c, monitors: ['10.0.1.5:6789'], rbd: {pool: q, user: u, key: (hidden), storageClass: far}}"},
		{"in a block of text", inline("|- # mine\n          " + a), []Edit{another}, "           (hidden)"},
		{"behind an alias", strings.Replace(inline("*k"), "{version: v1.36.3}", "{version: v1.36.3, kubelet: {x: &k "+a+"}}", 1), []Edit{Set("metadata.name", "x")},
			"   kubernetes: {version: v1.36.3, kubelet: {x: &k (hidden)}}"},
		{"behind a merge key", strings.Replace(stored, file, "<<: [{key: "+a+"}, {fstype: xfs}]", 1), []Edit{another},
			"         <<: [{key: (hidden)}, {fstype: xfs}]"},
		{"where one key was to be", inline("[" + a + ", {x: " + b + "}]"), []Edit{Set(class+".key", c)},
			"-        key: [(hidden), {(hidden): (hidden)}]\n+        key: \"(hidden, another)\""},
		{"whose end is not found", inline("! " + a), []Edit{another}, "F: the difference is not shown: the key in line 14 is written in a way that cannot be hidden"},
	} {
		t.Run(test.name, func(t *testing.T) {
			after, err := Apply("F", []byte(test.text), test.edits...)
			if err != nil {
				t.Fatal(err)
			}
			shown := (&File{Name: "F", before: []byte(test.text), after: after}).Diff()
			var lines []string
			for line := range strings.Lines(shown) {
				if strings.Contains(line, "hidden") {
					lines = append(lines, strings.TrimSuffix(line, "\n"))
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, key := range []string{a, b, c} {
				if strings.Contains(shown, key[16:]) {
					t.Errorf("a key is shown:\n%s", shown)
				}
			}
		})
	}
}
