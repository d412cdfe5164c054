package registry_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// nobodyListens is an address of this machine where no one listens.
func nobodyListens(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Each way of getting no answer is a sentence without the library's words, and says what may help.
func TestSilent_SaysWhyAndWhatMayHelp(t *testing.T) {
	dead, secure, open := nobodyListens(t), registrytest.NewTLS(t).Host(), registrytest.New(t).Host()
	_, port, _ := strings.Cut(secure, ":")
	gone := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(gone.Close)
	ended := strings.TrimPrefix(gone.URL, "http://")
	for name, c := range map[string]struct {
		o                registry.Options
		host, want, hint string
	}{
		"no such name": {registry.Options{Transport: noAddress{IsNotFound: true, Err: "no such host"}}, "r.example", "r.example does not answer: its name is not known to this machine's resolver (no such host)", "correct the name; where only a proxy knows it, HTTPS_PROXY names that"},
		"no resolver":  {registry.Options{Transport: noAddress{IsTimeout: true, Err: "i/o timeout"}}, "r.example", "r.example does not answer: this machine's resolver does not tell its address (i/o timeout)", "look after this machine's resolver"},
		"refused":      {registry.Options{}, dead, dead + " does not answer: it refuses the connection", "is it running, and is that its port? Without one, 443 is asked: write HOST:PORT"},
		"authority":    {registry.Options{}, secure, secure + " shows a certificate of an authority that this machine does not know", "--ca-file FILE names its authority"},
		"HTTP":         {registry.Options{}, open, open + " speaks HTTP, and was asked by HTTPS", "--plain-http=" + open + " asks it by HTTP"},
		"other name": {registry.Options{CAFile: authority(t)}, "localhost:" + port, "localhost:" + port + " shows a certificate that is not for that name",
			"write the name that its certificate is for: example.com, *.example.com, 127.0.0.1, ::1"},
		"ended": {registry.Options{PlainHTTP: []string{ended}}, ended, ended + " does not answer: it ends the connection", ""},
	} {
		_, err := client(t, c.o).Repo(repository(t, c.host+"/team/app"), nil).Manifest(t.Context(), "1")
		if !errors.Is(err, registry.ErrSilent) || !strings.HasPrefix(fmt.Sprint(err), c.want) || !strings.HasPrefix(registry.Hint(err), c.hint) || (c.hint == "") != (registry.Hint(err) == "") {
			t.Errorf("%s: %v\nhint: %s", name, err, registry.Hint(err))
		}
	}
}

// The proxy is named, and not the host that only the proxy could reach. The environment's proxies are read once by each process, and never for
// addresses of this machine: a process of its own asks for a name.
func TestSilent_NamesTheProxy(t *testing.T) {
	if os.Getenv("REGISTRY_TEST_PROXY") != "" {
		_, err := client(t, registry.Options{Tries: 1}).Repo(repository(t, "harbor.invalid/team/app"), nil).Manifest(t.Context(), "1")
		fmt.Printf("SAID %v\nHINT %s\n", err, registry.Hint(err))
		return
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	t.Cleanup(refuses.Close)
	answers := strings.TrimPrefix(refuses.URL, "http://")
	dead := nobodyListens(t)
	for proxy, want := range map[string]string{
		"http://" + dead:            "harbor.invalid is asked by the proxy " + dead + ", which does not answer: it refuses the connection",
		"http://me:secret@" + dead:  "harbor.invalid is asked by the proxy " + dead + ", which does not answer: it refuses the connection",
		"http://proxy.invalid:3128": "harbor.invalid is asked by the proxy proxy.invalid:3128, which does not answer: ",
		"http://" + answers:         "harbor.invalid is asked by the proxy " + answers + ", which answers 407 Proxy Authentication Required",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSilent_NamesTheProxy$", "-test.v")
		cmd.Env = append(os.Environ(), "REGISTRY_TEST_PROXY=1", "HTTPS_PROXY="+proxy, "https_proxy="+proxy, "NO_PROXY=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "SAID "+want) || !strings.Contains(string(out), "HINT "+registry.Proxies) || strings.Contains(string(out), "secret") {
			t.Errorf("%s: %v\n%s", proxy, err, out)
		}
	}
}

// noAddress is the answer of a resolver that has no address for any name.
type noAddress net.DNSError

func (n noAddress) RoundTrip(*http.Request) (*http.Response, error) {
	err := net.DNSError(n)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &err}
}

// authority is the file with the certificate that the test's servers show.
func authority(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: registrytest.NewTLS(t).TLS().Certificate().Raw})
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
