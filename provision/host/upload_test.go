package host

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The staging directory is the login user's: nothing in it is believed, whatever it is called.
func TestApplyScript_NothingOfTheUploadDirectoryIsBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, upload string)
		exit  int
	}{
		"a mark that it was looked at": {func(t *testing.T, upload string) {
			if err := os.WriteFile(upload+".ok", []byte("another's"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, 0},
		"a mark alone": {func(t *testing.T, upload string) {
			if err := os.Rename(upload, upload+".ok"); err != nil {
				t.Fatal(err)
			}
		}, 71},
		"a link to a file of root": {func(t *testing.T, upload string) {
			if err := os.Rename(upload, upload+".real"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Base(upload)+".real", upload); err != nil {
				t.Fatal(err)
			}
		}, 71},
		"a pipe that nobody writes": {func(t *testing.T, upload string) {
			os.Remove(upload)
			if err := syscall.Mkfifo(upload, 0o600); err != nil {
				t.Fatal(err)
			}
		}, 71},
		"a directory": {func(t *testing.T, upload string) {
			os.Remove(upload)
			if err := os.Mkdir(upload, 0o700); err != nil {
				t.Fatal(err)
			}
		}, 71},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			sha := s.stage("runtime", "binary")
			upload := s.path("var-lib", "hybridctl", "upload", "runtime", sha)
			c.spoil(t, upload)
			status, _, errs := s.run("apply", runtimeFiles(sha).directives(), staging)
			if status != c.exit {
				t.Errorf("exit %d: %s", status, errs)
			}
			want := "binary"
			if c.exit != 0 {
				want = "(open " + s.path("opt", "bin", "a") + ": no such file or directory)"
				if _, err := os.Lstat(upload); err == nil {
					t.Error("the upload stays, another would go on from it")
				}
			}
			if got := s.read("opt", "bin", "a"); got != want {
				t.Errorf("landed %q, want %q", got, want)
			}
			if left, _ := filepath.Glob(s.path("opt", "bin", ".hybridctl.*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Who still has the upload open does not have what was landed open.
func TestApplyScript_LandsACopy(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	open, err := os.OpenFile(s.path("var-lib", "hybridctl", "upload", "runtime", sha), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := os.Chown(s.path("var-lib", "hybridctl", "upload", "runtime"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := s.run("apply", runtimeFiles(sha).directives(), staging); status != 0 {
		t.Fatalf("exit %d: %s", status, errs)
	}
	if _, err := open.WriteAt([]byte("Trojan"), 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "same"} {
		if got := s.read("opt", "bin", name); got != "binary" {
			t.Errorf("%s became %q after it was looked at", name, got)
		}
	}
}

// Bytes are written once: an upload into a directory of root's is moved, and another path for the same bytes is a second name of what has landed.
func TestApplyScript_WritesBytesOnce(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	s.tool("cp", `case $3 in */.hybridctl.quiet) exec /bin/cp "$@" ;; esac; echo "cp $*" >&2; exit 1`)
	f := runtimeFiles(sha)
	f.Binaries = append(f.Binaries, Binary{Path: "/opt/bin/quiet", Mode: "0700", SHA256: sha})
	if status, _, errs := s.run("apply", f.directives(), staging); status != 0 {
		t.Fatalf("exit %d: %s", status, errs)
	}
	first, err := os.Stat(s.path("opt", "bin", "a"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		same bool
		mode os.FileMode
	}{"a": {true, 0o755}, "same": {true, 0o755}, "quiet": {false, 0o700}} {
		landed, err := os.Stat(s.path("opt", "bin", name))
		if err != nil || os.SameFile(first, landed) != c.same || landed.Mode() != c.mode || s.read("opt", "bin", name) != "binary" {
			t.Errorf("%s: %v %v, want the file that was uploaded (%v) of mode %o", name, landed, err, c.same, c.mode)
		}
	}
}

// What is looked at stays where it is: the upload goes on from there.
func TestApplyScript_AnInterruptedMoveKeepsTheUpload(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	s.tool("sha256sum", "kill $PPID; sleep 1")
	if status, _, _ := s.run("apply", runtimeFiles(sha).directives(), staging); status == 0 {
		t.Error("ended well")
	}
	if got := s.read("var-lib", "hybridctl", "upload", "runtime", sha); got != "binary" {
		t.Errorf("the upload is %q", got)
	}
}

// What another login user uploaded he may still have open.
func TestProbeFilesScript_AnotherUsersUploadIsDeleted(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	upload := s.path("var-lib", "hybridctl", "upload", "runtime")
	for _, p := range []string{upload, filepath.Join(upload, sha)} {
		if err := os.Chown(p, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := s.run("probe-files", []byte(sha+" 6 /opt/none\n"), staging); code != 0 || out != "need "+sha+"\n" {
		t.Errorf("exit %d, printed %q, %s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(upload, sha)); err == nil {
		t.Error("the other user's upload is there")
	}
}

func TestApplyScript_NoSpaceIsNoDamage(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	if err := os.Chown(s.path("var-lib", "hybridctl", "upload", "runtime"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	s.tool("cp", "echo 'cp: error writing: No space left on device' >&2; exit 1")
	status, _, errs := s.run("apply", runtimeFiles(sha).directives(), staging)
	if status == 71 || status == 0 || !strings.Contains(errs, "No space left on device") {
		t.Errorf("exit %d: %s", status, errs)
	}
	if got := s.read("var-lib", "hybridctl", "upload", "runtime", sha); got != "binary" {
		t.Errorf("the upload is %q", got)
	}
}

func TestProbeFilesScript_AMarkIsNoFile(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
	upload := s.path("var-lib", "hybridctl", "upload", "runtime", sha)
	if err := os.Rename(upload, upload+".ok"); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := s.run("probe-files", []byte(sha+" 6 /opt/none\n"), staging); out != "need "+sha+"\n" {
		t.Errorf("printed %q", out)
	}
}

// A marker can be read, and tells when a file was written, also where stat knows no more than whole seconds.
func TestApplyScript_WholeSeconds(t *testing.T) {
	s := newSandbox(t)
	s.tool("stat", `case $2 in *%.9Y*) exec /usr/bin/stat -c "${2%%.9Y*}Y${2#*.9Y}" "$3" ;; *) exec /usr/bin/stat "$@" ;; esac`)
	if code, _, errs := s.run("apply", runtimeFiles(s.stage("runtime", "binary")).directives(), staging); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	text := s.read("var-lib", "hybridctl", "steps", "runtime")
	m, err := ParseMarker("runtime", []byte(text))
	info, there := os.Stat(s.path("opt", "etc", "conf"))
	if err != nil || there != nil || len(m.Files) != 3 || m.Files[2].ModTime != info.ModTime().Unix()*1e9 || m.Files[2].Path != "/opt/etc/conf" {
		t.Errorf("%v, %v: the marker is %q", err, there, text)
	}
}

// systemd reads its units again only where it has not read ours as they are now. What it does not say is no reason to believe that it has.
func TestApplyScript_ReloadsWhereItMust(t *testing.T) {
	for name, c := range map[string]struct {
		shown  string
		reload bool
	}{
		"a systemd that finds new units": {"LoadState=loaded\nNeedDaemonReload=no\nFragmentPath=/etc/systemd/system/x.service", false},
		"one that answers in its order":  {"FragmentPath=/etc/systemd/system/x.service\nNeedDaemonReload=no\nLoadState=loaded", false},
		"another's unit of the name":     {"LoadState=loaded\nNeedDaemonReload=no\nFragmentPath=/usr/lib/systemd/system/x.service", true},
		"a unit that was changed":        {"LoadState=loaded\nNeedDaemonReload=yes\nFragmentPath=/etc/systemd/system/x.service", true},
		"an old systemd, a new unit":     {"LoadState=not-found\nNeedDaemonReload=no", true},
		"no answer":                      {"", true},
	} {
		for _, kind := range []string{"started", "enabled"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := newSandbox(t)
				s.tool("systemctl", `echo "systemctl $*" >>/opt/calls; case $1 in is-active | is-enabled) false ;; show) printf '%s\n' '`+c.shown+`' ;; esac`)
				f := runtimeFiles(s.stage("runtime", "binary"))
				if kind == "enabled" {
					f.Units, f.Enable = nil, f.Units
				}
				if code, _, errs := s.run("apply", f.directives(), staging); code != 0 {
					t.Fatalf("exit %d: %s", code, errs)
				}
				calls := s.read("opt", "calls")
				if got := strings.Contains(calls, "daemon-reload"); got != c.reload || !strings.Contains(calls, "enable -q x.service") {
					t.Errorf("read again: %v, want %v:\n%s", got, c.reload, calls)
				}
			})
		}
	}
}
