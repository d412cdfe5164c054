package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// talk starts an agent, and returns how to give it a line and how to get its next answer. Its input ends with the test.
func talk(t *testing.T, agent Agent) (give func(line string), next func() Answer) {
	t.Helper()
	orders, in := io.Pipe()
	out, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(context.Background(), orders, answers)
		answers.Close()
	}()
	t.Cleanup(func() {
		in.Close()
		go io.Copy(io.Discard, out) // the end of an answer's line may be what the decoder did not need, and its writer waits for a reader
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	d := json.NewDecoder(out)
	give = func(line string) {
		t.Helper()
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	next = func() Answer {
		t.Helper()
		var a Answer
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	return give, next
}

func orderLine(t *testing.T, o Order) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAgent_Who(t *testing.T) {
	give, next := talk(t, Agent{Who: who})
	give(`{"id":7,"op":"who"}`)
	if a := next(); a.ID != 7 || a.Error != "" || a.Who == nil || *a.Who != who {
		t.Errorf("%+v", a)
	}
}

func TestAgent_Dial(t *testing.T) {
	addr := serve(t)
	give, next := talk(t, Agent{Who: who, Secret: secret})
	give(orderLine(t, Order{ID: 1, Op: OpDial, Network: "tcp", Addr: addr, Nonces: []string{"a", "b", "c"}, Size: 1400}))
	a := next()
	if a.Error != "" || len(a.Attempts) != 3 {
		t.Fatalf("%+v", a)
	}
	for i, nonce := range []string{"a", "b", "c"} {
		if got := a.Attempts[i]; got.Nonce != nonce || got.Error != "" || got.Reply == nil || got.Reply.Nonce != nonce || got.Reply.UID != who.UID {
			t.Errorf("attempt %d: %+v", i, got)
		}
	}
	for _, o := range []Order{
		{Network: "tcp", Size: MaxSize + 1}, {Network: "tcp", Size: -1}, {Network: "udp", Size: MaxDatagram + 1}, {Network: "udp4", Size: MaxDatagram + 1},
	} {
		o.Op, o.Addr, o.Nonces = OpDial, addr, []string{"a"}
		give(orderLine(t, o))
		if a := next(); a.Error != fmt.Sprintf("a payload of %d bytes is not possible", o.Size) || a.Attempts != nil {
			t.Errorf("%+v: %+v", o, a)
		}
	}
}

// Each attempt has its own time: one that gets no answer does not take the next one's.
func TestAgent_DialGoesOnAfterAnAttemptThatFailed(t *testing.T) {
	addr := serve(t)
	calls := 0
	give, next := talk(t, Agent{Secret: secret, Dialer: dialContext(func(ctx context.Context, network, addr string) (net.Conn, error) {
		if calls++; calls == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(context.WithoutCancel(ctx), network, addr)
	})})
	give(orderLine(t, Order{Op: OpDial, Network: "udp", Addr: addr, Nonces: []string{"lost", "arrives"}, Size: 1, TimeoutMillis: 300}))
	a := next()
	if len(a.Attempts) != 2 || a.Attempts[0].Error == "" || a.Attempts[0].Reply != nil || a.Attempts[1].Error != "" {
		t.Errorf("%+v", a)
	}
}

type dialContext func(ctx context.Context, network, addr string) (net.Conn, error)

func (f dialContext) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

func TestAgent_Files(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "host"), 0o755); err != nil {
		t.Fatal(err)
	}
	give, next := talk(t, Agent{Root: root})
	for _, text := range []string{"a longer first text", "second"} {
		give(orderLine(t, Order{Op: OpWrite, Path: "/host/f", Text: text}))
		if a := next(); a.Error != "" {
			t.Fatal(a.Error)
		}
		give(orderLine(t, Order{Op: OpRead, Path: "/host/f"}))
		a := next()
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(root, "host/f"), &st); err != nil {
			t.Fatal(err)
		}
		if a.Error != "" || a.Text != text || a.FileID != fmt.Sprintf("%d:%d", st.Dev, st.Ino) {
			t.Errorf("%+v", a)
		}
	}
	give(orderLine(t, Order{ID: 3, Op: OpRead, Path: "/host/none"}))
	if a := next(); !a.NotExist || !strings.Contains(a.Error, "no such file") || a.ID != 3 {
		t.Errorf("a missing file: %+v", a)
	}
	give(orderLine(t, Order{Op: OpRead, Path: "/host"}))
	if a := next(); a.NotExist || a.Error == "" {
		t.Errorf("a directory: %+v", a)
	}
	give(orderLine(t, Order{Op: OpWrite, Path: "/none/f"}))
	if a := next(); !a.NotExist || a.Error == "" {
		t.Errorf("writing where no directory is: %+v", a)
	}
}

func TestAgent_Lookup(t *testing.T) {
	give, next := talk(t, Agent{Lookup: func(_ context.Context, server, name string) ([]string, error) {
		if name == "unknown" {
			return nil, &net.DNSError{Err: "no such host", Name: name}
		}
		return []string{server, name}, nil
	}})
	give(orderLine(t, Order{Op: OpLookup, Server: "10.0.0.1:53", Name: "x.test."}))
	if a := next(); a.Error != "" || !slices.Equal(a.Addresses, []string{"10.0.0.1:53", "x.test."}) {
		t.Errorf("%+v", a)
	}
	give(orderLine(t, Order{Op: OpLookup, Name: "unknown"}))
	if a := next(); !strings.Contains(a.Error, "no such host") || a.NotExist {
		t.Errorf("%+v", a)
	}
}

func TestAgent_OrdersItCannotCarryOut(t *testing.T) {
	give, next := talk(t, Agent{Who: who})
	give(`{"id":1,"op":"run"}`)
	if a := next(); a.ID != 1 || a.Error != `no operation "run": the probe is of another version` {
		t.Errorf("%+v", a)
	}
	give(`{"id":2,"op":`)
	if a := next(); !strings.Contains(a.Error, "the order cannot be read: ") {
		t.Errorf("%+v", a)
	}
	give(`{"id":3,"op":5}`)
	if a := next(); a.ID != 3 || !strings.Contains(a.Error, "the order cannot be read: ") {
		t.Errorf("%+v", a)
	}
	give(`{"id":4,"op":"who"}`) // it goes on
	if a := next(); a.ID != 4 || a.Who == nil {
		t.Errorf("%+v", a)
	}
}

// Orders are carried out at the same time, and answered in the order in which they are ready.
func TestAgent_Concurrent(t *testing.T) {
	release := make(chan struct{})
	give, next := talk(t, Agent{Who: who, Lookup: func(context.Context, string, string) ([]string, error) {
		<-release
		return nil, nil
	}})
	for i := range 5 {
		give(fmt.Sprintf(`{"id":%d,"op":"lookup"}`, i))
	}
	give(`{"id":100,"op":"who"}`)
	if a := next(); a.ID != 100 {
		t.Fatalf("the order behind slow ones waits: %+v", a)
	}
	close(release)
	var ids []int
	for range 5 {
		ids = append(ids, next().ID)
	}
	if slices.Sort(ids); !slices.Equal(ids, []int{0, 1, 2, 3, 4}) {
		t.Error(ids)
	}
}

func TestAgent_BrokenOutput(t *testing.T) {
	out, answers := io.Pipe()
	out.Close()
	if err := (Agent{}).Run(t.Context(), strings.NewReader(`{"op":"who"}`+"\n"), answers); err == nil {
		t.Error("answers that reach nobody are no error")
	}
	if err := (Agent{}).Run(t.Context(), strings.NewReader(strings.Repeat("x", 2<<20)), io.Discard); err == nil {
		t.Error("an order without end is no error")
	}
}

func TestAgent_Volumes(t *testing.T) {
	root := t.TempDir()
	agent := Agent{Root: root}
	ask := func(o Order) Answer { return agent.carryOut(t.Context(), o) }
	const size = 9 << 20 // more than a piece, and not a whole number of them
	wrote := ask(Order{Op: OpFill, Path: "/v", Nonces: []string{"n"}, Size: size})
	if wrote.Error != "" || len(wrote.SHA256) != 64 {
		t.Fatalf("%+v", wrote)
	}
	if st, err := os.Stat(filepath.Join(root, "v")); err != nil || st.Size() != size {
		t.Errorf("%v, %v", st, err)
	}
	if read := ask(Order{Op: OpSum, Path: "/v", Size: size}); read.SHA256 != wrote.SHA256 {
		t.Errorf("%+v, want %s", read, wrote.SHA256)
	}
	if short := ask(Order{Op: OpSum, Path: "/v", Size: size + 1}); short.Error == "" {
		t.Error("more bytes were read than there are")
	}
	if other := ask(Order{Op: OpFill, Path: "/w", Nonces: []string{"m"}, Size: size}); other.SHA256 == wrote.SHA256 {
		t.Error("another nonce gives the same bytes")
	}
	var open sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		open.Go(func() {
			if got := ask(Order{Op: OpAppend, Path: "/lines", Name: name, Size: 50}); got.Error != "" {
				t.Error(got.Error)
			}
		})
	}
	open.Wait()
	if got := ask(Order{Op: OpRead, Path: "/lines"}); strings.Count(got.Text, "\n") != 100 || !strings.Contains(got.Text, "b 49\n") {
		t.Errorf("%q", got.Text)
	}
	for _, o := range []Order{
		{Op: OpFill, Path: "/v", Nonces: []string{"n"}}, {Op: OpFill, Path: "/v", Nonces: []string{"n"}, Size: MaxFill + 1}, {Op: OpFill, Path: "/v", Size: 1},
		{Op: OpFill, Path: "/none/v", Nonces: []string{"n"}, Size: 1}, {Op: OpSum, Path: "/none", Size: 1}, {Op: OpAppend, Path: "/v", Name: "a"},
	} {
		if got := ask(o); got.Error == "" {
			t.Errorf("%+v was carried out: %+v", o, got)
		}
	}
	if bytes, major, err := space(root); err != nil || bytes <= 0 || major != 0 {
		t.Errorf("%d bytes, major %d, %v", bytes, major, err)
	}
	if _, _, err := space(filepath.Join(root, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
