package kube

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dnsServer answers A questions over TCP with one address, or with a code. It notes where it was dialled and counts the names
// it was asked for.
type dnsServer struct {
	mu      sync.Mutex
	down    bool
	answer  net.IP // nil = code
	code    byte
	dialled string
	asked   map[string]int
}

func (s *dnsServer) set(down bool, answer net.IP, code byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.answer, s.code = down, answer, code
}

func (s *dnsServer) dial(_ context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled = network + " " + addr
	if s.down {
		return nil, errors.New("ssh: rejected: connect failed (Connection refused)")
	}
	here, there := net.Pipe()
	go s.serve(there) // ends when the resolver closes its end
	return here, nil
}

func (s *dnsServer) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var size uint16
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		question := make([]byte, size)
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		reply := s.reply(question)
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	}
}

// reply makes a DNS message by hand: header, the question as it came, and at most one answer that points at its name.
func (s *dnsServer) reply(question []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := 12
	var labels []string
	for question[end] != 0 {
		n := int(question[end])
		labels = append(labels, string(question[end+1:end+1+n]))
		end += 1 + n
	}
	s.asked[strings.Join(labels, ".")]++
	isA := question[end+2] == 1
	end += 5
	reply := append([]byte{question[0], question[1], 0x81, 0x80 | s.code, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if s.answer != nil && isA {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4)
		reply = append(reply, s.answer.To4()...)
	}
	return reply
}

func TestCheckDNS(t *testing.T) {
	c := sharedClient(t)
	if _, err := c.core.Services("kube-system").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.10", Ports: []corev1.ServicePort{{Port: 53}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.core.Services("kube-system").Delete(context.Background(), "kube-dns", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	server := &dnsServer{asked: map[string]int{}}
	check := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return c.CheckDNS(ctx, server.dial, "cluster.test")
	}

	server.set(false, net.IPv4(10, 96, 0, 1), 0) // the first address of the range is the API service's
	if err := check(testTimeout); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	if server.dialled != "tcp 10.96.0.10:53" || server.asked["kubernetes.default.svc.cluster.test"] == 0 || len(server.asked) != 1 {
		t.Errorf("dialled %q, asked for %v", server.dialled, server.asked)
	}
	server.mu.Unlock()

	bad := []struct {
		name   string
		down   bool
		answer net.IP
		code   byte
		want   string
	}{
		{"another address", false, net.IPv4(10, 0, 0, 9), 0, "it answers 10.0.0.9 instead of 10.96.0.1"},
		{"no such name", false, nil, 3, "no such host"},
		{"broken", false, nil, 2, "server misbehaving"},
		{"not there", true, nil, 0, "Connection refused"},
	}
	for _, tt := range bad {
		server.set(tt.down, tt.answer, tt.code)
		err := check(time.Second)
		prefix := "cluster DNS at 10.96.0.10 does not resolve kubernetes.default.svc.cluster.test.: "
		if !errors.Is(err, ErrNotReady) || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}

	// CoreDNS comes up while it is asked.
	server.set(false, nil, 3)
	done := make(chan error, 1)
	go func() { done <- check(testTimeout) }()
	server.set(false, net.IPv4(10, 96, 0, 1), 0)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCheckDNS_WithoutTheService(t *testing.T) {
	err := sharedClient(t).CheckDNS(testContext(t), nil, "cluster.local")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "kube-system/kube-dns") {
		t.Errorf("err = %v", err)
	}
}
