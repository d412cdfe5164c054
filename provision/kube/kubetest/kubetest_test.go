package kubetest

import (
	"net"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestServerStopsAndStartsAgain(t *testing.T) {
	s := Start(t)
	dials := func() error {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dials(); err != nil {
		t.Fatalf("a started server does not listen: %v", err)
	}
	s.StopAPI()
	if dials() == nil {
		t.Fatal("a stopped server still listens")
	}
	if err := s.StartAPI(); err != nil {
		t.Fatal(err)
	}
	dir := s.dir
	s.Stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("files are left in %s: %v", dir, err)
	}
}
