package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The operations of an Order.
const (
	OpWho    = "who"    // → Who
	OpDial   = "dial"   // Network, Addr, Nonces, Size, TimeoutMillis → Attempts, one per nonce, one after another
	OpWrite  = "write"  // Path, Text: whole, synced → nothing
	OpRead   = "read"   // Path → Text, FileID
	OpLookup = "lookup" // Server (address:port; empty = the pod's own), Name → Addresses
	OpFill   = "fill"   // Path, Nonces[0], Size: bytes that follow from the nonce, synced → SHA256
	OpSum    = "sum"    // Path, Size: the first bytes → SHA256
	OpAppend = "append" // Path, Name, Size: so many lines "<name> <number>", each under the file's lock → nothing
	OpSpace  = "space"  // Path → Bytes, and Major of a block device
)

// Order is one line of JSON to an agent.
type Order struct {
	ID            int      `json:"id"`
	Op            string   `json:"op"`
	Network       string   `json:"network,omitempty"`
	Addr          string   `json:"addr,omitempty"`
	Nonces        []string `json:"nonces,omitempty"`
	Size          int      `json:"size,omitempty"`
	TimeoutMillis int      `json:"timeoutMs,omitempty"` // of one attempt, and of everything else
	Path          string   `json:"path,omitempty"`
	Text          string   `json:"text,omitempty"`
	Server        string   `json:"server,omitempty"`
	Name          string   `json:"name,omitempty"`
}

// Answer is one line of JSON from an agent. Answers come in the order in which they are ready.
type Answer struct {
	ID        int       `json:"id"`
	Error     string    `json:"error,omitempty"`
	NotExist  bool      `json:"notExist,omitempty"` // the error is that there is no such file
	Who       *Who      `json:"who,omitempty"`
	Attempts  []Attempt `json:"attempts,omitempty"`
	Text      string    `json:"text,omitempty"`
	FileID    string    `json:"fileID,omitempty"` // device:inode, as stat -c %d:%i prints it
	Addresses []string  `json:"addresses,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Bytes     int64     `json:"bytes,omitempty"`
	Major     int       `json:"major,omitempty"`
}

// maxOrders bounds how many orders an agent works on at once.
const maxOrders = 32

// maxText bounds what is read of a file.
const maxText = 64 << 10

// Agent carries out orders.
type Agent struct {
	Who    Who
	Secret Secret                                                           // of the run
	Dialer Dialer                                                           // nil = a net.Dialer
	Lookup func(ctx context.Context, server, name string) ([]string, error) // nil = DNS
	Space  func(path string) (size int64, major int, err error)             // nil = the file system's or device's
	Root   string                                                           // what paths start at; empty = /
}

// Run reads orders until in ends, and answers each on out.
func (agent Agent) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	if agent.Dialer == nil {
		agent.Dialer = &net.Dialer{}
	}
	if agent.Lookup == nil {
		agent.Lookup = lookup
	}
	if agent.Space == nil {
		agent.Space = space
	}
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	var broken error
	answer := func(a Answer) {
		mu.Lock()
		defer mu.Unlock()
		if err := enc.Encode(a); err != nil && broken == nil {
			broken = err
		}
	}
	var open sync.WaitGroup
	places := make(chan struct{}, maxOrders)
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		var o Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			answer(Answer{ID: o.ID, Error: "the order cannot be read: " + err.Error()})
			continue
		}
		places <- struct{}{}
		open.Go(func() {
			defer func() { <-places }()
			answer(agent.carryOut(ctx, o))
		})
	}
	open.Wait()
	return errors.Join(lines.Err(), broken)
}

func (agent Agent) carryOut(ctx context.Context, o Order) Answer {
	a := Answer{ID: o.ID}
	timeout := time.Duration(o.TimeoutMillis) * time.Millisecond
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	path := filepath.Join(agent.Root, o.Path)
	err := func() error {
		switch o.Op {
		case OpWho:
			a.Who = &agent.Who
			return nil
		case OpDial:
			if o.Size < 0 || o.Size > MaxSize || strings.HasPrefix(o.Network, "udp") && o.Size > MaxDatagram {
				return fmt.Errorf("a payload of %d bytes is not possible", o.Size)
			}
			for _, nonce := range o.Nonces {
				one, cancel := context.WithTimeout(ctx, timeout)
				a.Attempts = append(a.Attempts, Dial(one, agent.Dialer, agent.Secret, Call{o.Network, o.Addr, nonce, o.Size}))
				cancel()
			}
			return nil
		case OpWrite:
			return write(path, o.Text)
		case OpRead:
			var err error
			a.Text, a.FileID, err = read(path)
			return err
		case OpLookup:
			one, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			var err error
			a.Addresses, err = agent.Lookup(one, o.Server, o.Name)
			return err
		case OpFill:
			if len(o.Nonces) != 1 {
				return errors.New("one nonce is wanted")
			}
			var err error
			a.SHA256, err = fill(path, o.Nonces[0], o.Size)
			return err
		case OpSum:
			var err error
			a.SHA256, err = sum(path, o.Size)
			return err
		case OpAppend:
			return appendLines(path, o.Name, o.Size)
		case OpSpace:
			var err error
			a.Bytes, a.Major, err = agent.Space(path)
			return err
		}
		return fmt.Errorf("no operation %q: the probe is of another version", o.Op)
	}()
	if err != nil {
		a.Error, a.NotExist = err.Error(), errors.Is(err, os.ErrNotExist)
	}
	return a
}

func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func read(path string) (text, id string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return "", "", err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return "", "", err
	}
	return string(b), fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// lookup asks one DNS server, or those of the pod, for a name's addresses.
func lookup(ctx context.Context, server, name string) ([]string, error) {
	r := &net.Resolver{PreferGo: true}
	if server != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}
	}
	return r.LookupHost(ctx, name)
}
