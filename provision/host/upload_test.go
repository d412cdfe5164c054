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

func TestApplyScript_NoSpaceIsNoDamage(t *testing.T) {
	s := newSandbox(t)
	sha := s.stage("runtime", "binary")
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
