package remote_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// A server that is full for a moment lets us in a moment later.
func TestDial_FullServerIsAskedAgain(t *testing.T) {
	for _, words := range []string{"Exceeded MaxStartups\r\n", "Not allowed at this time\r\n", ""} {
		h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
		h.Full(words, 2)
		c, err := h.Fleet().Dialer().Dial(t.Context(), h.Config())
		if err != nil {
			t.Errorf("%q: %v", words, err)
			continue
		}
		c.Close()
		if n := h.Stats().Connections; n != 3 {
			t.Errorf("%q: %d connections, want 3", words, n)
		}
	}
}

func TestDial_FullForGood(t *testing.T) {
	h := remotetest.NewFleet(t, 1, remotetest.Options{}).Hosts[0]
	h.Full("Not allowed at this time\r\n", 1000)
	conf := h.Config()
	conf.ConnectTimeout = 300 * time.Millisecond
	_, err := h.Fleet().Dialer().Dial(t.Context(), conf)
	want := h.Addr() + `: the server takes no more logins just now: it says "Not allowed at this time" (MaxStartups or PerSourcePenalties in its sshd_config)`
	if !errors.Is(err, remote.ErrUnreachable) || !remote.Transient(err) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if n := h.Stats().Connections; n < 2 || n > 10 {
		t.Errorf("asked %d times", n)
	}
}

func TestDial_RefusalTellsTheBanner(t *testing.T) {
	h := startSSHD(t, "Banner "+quoted(bannerFile(t)))
	conf := h.config(t)
	_, conf.IdentityFiles[0] = remotetest.NewKey(t, t.TempDir(), "other", "")
	_, err := newDialer(t, remote.Config{ClusterKnownHosts: h.known}).Dial(t.Context(), conf)
	if !errors.Is(err, remote.ErrAuth) || !strings.HasSuffix(err.Error(), `; it says "Your key has expired: see wiki/keys"`) {
		t.Errorf("error %v", err)
	}
}

func bannerFile(t *testing.T) string {
	path := t.TempDir() + "/banner"
	writeFile(t, path, "No trespassing.\n\x1b]0;title\x07\nYour key has expired:\tsee wiki/keys\n\n")
	return path
}

func TestExitError_ControlCharactersAreNotTold(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.Fail("id", "\x1b]0;you\x07\x1b[2Jgone\n", 1)
	if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"id"}}); err == nil || strings.ContainsAny(err.Error(), "\x1b\x07") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("error %q", err)
	}
}
