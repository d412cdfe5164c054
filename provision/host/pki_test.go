package host

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/templates"
)

// shared is what control planes share, as a tar, after change.
func shared(t testing.TB, change func([]tar.Header) []tar.Header) []byte {
	t.Helper()
	var files []tar.Header
	for _, name := range sharedFiles {
		files = append(files, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(name)), Uname: "somebody", Uid: 1000})
	}
	if change != nil {
		files = change(files)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		body := []byte(f.Name)
		if f.Typeflag == tar.TypeReg && int(f.Size) != len(body) {
			body = bytes.Repeat([]byte("x"), int(f.Size))
		}
		err := w.WriteHeader(&f)
		if err == nil && f.Typeflag == tar.TypeReg {
			_, err = w.Write(body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sharedCases are tars that one control plane may give, and what is said of them; "" = they are what is wanted. The script says unpacked.
var sharedCases = map[string]struct {
	change         func([]tar.Header) []tar.Header
	says, unpacked string
}{
	"what is wanted": {},
	"another file": {func(f []tar.Header) []tar.Header {
		return append(f, tar.Header{Name: "apiserver.key", Typeflag: tar.TypeReg, Size: 1})
	}, `"apiserver.key" is not to be there`, "it has other files"},
	"a path that leads out": {func(f []tar.Header) []tar.Header {
		return append(f, tar.Header{Name: "../../../etc/cron.d/x", Typeflag: tar.TypeReg, Size: 1})
	}, `"../../../etc/cron.d/x" is not to be there`, "it has other files"},
	"one twice": {func(f []tar.Header) []tar.Header { return append(f, f[0]) }, `"ca.crt" is not to be there`, "it has other files"},
	"one less":  {func(f []tar.Header) []tar.Header { return f[:7] }, "etcd/ca.key is missing", "it has other files"},
	"none":      {func([]tar.Header) []tar.Header { return nil }, "ca.crt is missing", "it has other files"},
	"a link": {func(f []tar.Header) []tar.Header {
		f[1] = tar.Header{Name: "ca.key", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}
		return f
	}, "ca.key is no regular file", "not all are regular files"},
	"a hard link": {func(f []tar.Header) []tar.Header {
		f[7] = tar.Header{Name: "etcd/ca.key", Typeflag: tar.TypeLink, Linkname: "ca.key"}
		return f
	}, "etcd/ca.key is no regular file", "not all are regular files"},
	"a device": {func(f []tar.Header) []tar.Header {
		f[2] = tar.Header{Name: "sa.key", Typeflag: tar.TypeBlock, Devmajor: 8}
		return f
	}, "sa.key is no regular file", "not all are regular files"},
	"a directory in its place": {func(f []tar.Header) []tar.Header {
		f[3] = tar.Header{Name: "sa.pub/", Typeflag: tar.TypeDir}
		return f
	}, `"sa.pub/" is not to be there`, "it has other files"},
	"an empty one":     {func(f []tar.Header) []tar.Header { f[0].Size = 0; return f }, "ca.crt has 0 bytes, and may have 1 to 65536", "ca.crt is empty, or too large"},
	"one that is long": {func(f []tar.Header) []tar.Header { f[0].Size = maxShared + 1; return f }, "ca.crt has 65537 bytes, and may have 1 to 65536", "ca.crt is empty, or too large"},
	"a long name": {func(f []tar.Header) []tar.Header {
		return append(f, tar.Header{Name: strings.Repeat("n", 5000), Typeflag: tar.TypeReg, Size: 1})
	}, `"` + strings.Repeat("n", 100) + `" is not to be there`, "it has other files"},
}

// What one control plane gives is unpacked as root on another: the files that are wanted go on, and nothing else does.
func TestRepack(t *testing.T) {
	for name, c := range sharedCases {
		got, err := repack(shared(t, c.change))
		if c.says != "" {
			if err == nil || err.Error() != c.says || got != nil {
				t.Errorf("%s: %v, want %q", name, err, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got)%512 != 0 || !bytes.HasSuffix(got, make([]byte, 1024)) { // tar refuses one that ends before its time
			t.Errorf("it is cut off after %d bytes", len(got))
		}
		var names []string
		for r := tar.NewReader(bytes.NewReader(got)); ; {
			f, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r)
			if string(body) != f.Name || f.Mode != 0o600 || f.Uname != "" || f.Uid != 0 {
				t.Errorf("%+v %q", f, body)
			}
			names = append(names, f.Name)
		}
		if !slices.Equal(names, sharedFiles) {
			t.Errorf("it has %q", names)
		}
	}
	for _, damaged := range []string{"certificates", string(shared(t, nil)[:1000]), string(shared(t, nil)[:600])} {
		if _, err := repack([]byte(damaged)); err == nil {
			t.Errorf("taken: %d bytes", len(damaged))
		}
	}
}

// The host that is given them looks too.
func TestUnpackScript(t *testing.T) {
	for name, c := range sharedCases {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.tool("stat", "echo tmpfs")
			s.put("run/hybridctl/pki/old.key")
			code, out, errs := s.run("pki-unpack", shared(t, c.change))
			said := ""
			if c.unpacked != "" {
				said = "pki: what came is not what control planes share, and was not unpacked: " + c.unpacked + "\n"
			}
			if (code != 0) != (said != "") || errs != said || out != "" {
				t.Errorf("exit %d, %q; want %q", code, errs, said)
			}
			there, err := exec.Command("find", s.path("run/hybridctl"), "-type", "f", "-perm", "0600", "-printf", "%P\n").Output()
			want := ""
			for _, name := range sharedFiles {
				want += "pki/" + name + "\n"
			}
			if said != "" {
				want = ""
			}
			if lines := slices.Sorted(strings.Lines(string(there))); err != nil || strings.Join(lines, "") != strings.Join(slices.Sorted(strings.Lines(want)), "") {
				t.Errorf("there is %q, error %v", there, err)
			}
			if entries, _ := os.ReadDir(s.path("run/hybridctl")); said != "" && len(entries) > 0 {
				t.Errorf("left: %v", entries)
			}
		})
	}
}

// What is packed is what is wanted, also from a directory of links.
func TestPackScript(t *testing.T) {
	s := newSandbox(t)
	for _, name := range sharedFiles {
		s.put("etc/kubernetes/pki/" + name)
	}
	s.put("etc/systemd/system/", "opt/kept/sa.key", "etc/kubernetes/pki/apiserver.key")
	if err := os.Remove(s.path("etc/kubernetes/pki/sa.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/opt/kept/sa.key", s.path("etc/kubernetes/pki/sa.key")); err != nil {
		t.Fatal(err)
	}
	code, out, errs := s.run("pki-pack", nil)
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	packed, err := repack([]byte(out))
	if err != nil || !bytes.Contains(packed, []byte("opt/kept/sa.key")) {
		t.Errorf("%v", err)
	}
	s.tool("stat", "echo tmpfs")
	if code, _, errs := s.run("pki-unpack", packed); code != 0 || s.read("run/hybridctl/pki/etcd/ca.key") != "etc/kubernetes/pki/etcd/ca.key" {
		t.Errorf("exit %d: %s", code, errs)
	}
	words := strings.Join(sharedFiles, " ")
	if !strings.HasSuffix(templates.Script("pki-pack"), words+"\n") || !strings.Contains(templates.Script("pki-unpack"), "files='"+words+"'\n") {
		t.Error("the scripts have other names, or another order")
	}
}

// What comes from a host becomes what is wanted, or nothing.
func FuzzRepack(f *testing.F) {
	f.Add(shared(f, nil))
	f.Add(shared(f, sharedCases["a link"].change))
	f.Add([]byte("certificates"))
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := repack(text)
		if err != nil {
			return
		}
		if again, err := repack(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%v", err)
		}
	})
}
