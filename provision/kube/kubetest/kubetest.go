// Package kubetest runs a real kube-apiserver with its etcd on loopback, for tests: no kubelet, no controllers, no scheduler,
// so a test makes nodes and pods as objects and plays the controllers itself. The binaries come from $HYBRIDCTL_KUBE_BIN, else
// from hybridctl/lab/kube-bin in the user's cache directory, where the lab's build leaves them; without them tests are skipped.
package kubetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// EnvBin names the directory that holds kube-apiserver and etcd.
const EnvBin = "HYBRIDCTL_KUBE_BIN"

// startTimeout is generous: emulated and busy machines start an API server slowly.
const startTimeout = 3 * time.Minute

// Server is a running API server with its own etcd.
type Server struct {
	dir, bin string
	port     int
	certs    certs
	etcd     *process
	api      *process
}

var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Main is for TestMain: it runs the tests and then ends the server that Shared started.
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Stop()
	}
	return code
}

// Shared returns the one server of this test binary, which Main stops. Tests that use it keep apart by their own names.
func Shared(t testing.TB) *Server {
	t.Helper()
	bin := binaries(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start(bin)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Start runs a server for this test alone, for instance because the test stops it.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start(binaries(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// binaries finds the directory with both programs, or skips the test.
func binaries(t testing.TB) string {
	t.Helper()
	dir, hint := os.Getenv(EnvBin), EnvBin
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("no API server to test against: $%s is not set, and there is no cache directory: %v", EnvBin, err)
		}
		dir, hint = filepath.Join(cache, "hybridctl", "lab", "kube-bin"), "the lab's cache (built by the lab, or set $"+EnvBin+")"
	}
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 == 0 {
			t.Skipf("no API server to test against: %s has no program %s; looked because of %s", dir, name, hint)
		}
	}
	return dir
}

func start(bin string) (*Server, error) {
	dir, err := os.MkdirTemp("", "kubetest-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin}
	if err := s.boot(); err != nil {
		s.Stop()
		return nil, fmt.Errorf("kubetest: %w", err)
	}
	return s, nil
}

func (s *Server) boot() error {
	var err error
	if s.certs, err = writeCerts(s.dir); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	s.port = ports[2]
	s.etcd = &process{path: filepath.Join(s.bin, "etcd"), log: filepath.Join(s.dir, "etcd.log"), args: []string{
		"--data-dir=" + filepath.Join(s.dir, "etcd"), "--name=test", "--initial-cluster=test=" + peer,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--unsafe-no-fsync", "--log-level=warn",
	}}
	s.api = &process{path: filepath.Join(s.bin, "kube-apiserver"), log: filepath.Join(s.dir, "kube-apiserver.log"), args: []string{
		"--etcd-servers=" + client, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", s.port), "--cert-dir=" + s.dir,
		"--tls-cert-file=" + s.certs.server.cert, "--tls-private-key-file=" + s.certs.server.key,
		"--client-ca-file=" + s.certs.ca.cert, "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + s.certs.serviceAccount, "--service-account-signing-key-file=" + s.certs.serviceAccount,
		"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none", "--allow-privileged",
		// ServiceAccount would refuse pods until a controller has made the namespace's default account.
		"--disable-admission-plugins=ServiceAccount", "--shutdown-delay-duration=0s",
	}}
	if err := s.etcd.start(); err != nil {
		return err
	}
	return s.StartAPI()
}

// StartAPI starts the API server again after StopAPI, and waits until it is ready.
func (s *Server) StartAPI() error {
	if err := s.api.start(); err != nil {
		return err
	}
	return s.waitReady()
}

// StopAPI ends the API server at once, as a crash would; etcd goes on.
func (s *Server) StopAPI() { s.api.kill() }

// Stop ends both programs and removes their files.
func (s *Server) Stop() {
	for _, p := range []*process{s.api, s.etcd} {
		if p != nil {
			p.kill()
		}
	}
	os.RemoveAll(s.dir)
}

// Addr is the API server's host:port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// freePorts asks the kernel for unused ports of loopback. All are held until all are known, so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
