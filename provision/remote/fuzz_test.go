package remote

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"unicode/utf8"
)

// What sudo says comes from a host: in whatever pieces, it neither ends this program nor grows without end, and only the mark lets the command begin.
func FuzzSudoTalk(f *testing.F) {
	f.Add([]byte("[sudo: P] Password: \nsudo: Authentication failed, try again.\nR-readyout"), uint8(3))
	f.Add([]byte("We trust you\nPassword: P]PPP[sudo: P"), uint8(1))
	f.Add([]byte("P]"), uint8(200))
	f.Fuzz(func(t *testing.T, said []byte, piece uint8) {
		var command bytes.Buffer
		talk := newSudoTalk(Line{Prompt: "P", Ready: "R-ready"}, &command)
		for rest := said; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			if _, err := talk.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if talk.begun() && !bytes.Contains(said, []byte("R-ready")) && !bytes.Contains(said, []byte("P")) {
			t.Errorf("it began without the mark: %q", said)
		}
		if len(talk.said) > 3*stderrTail {
			t.Errorf("%d bytes are kept", len(talk.said))
		}
		talk.waiting()
	})
}

func FuzzParseJump(f *testing.F) {
	for _, s := range []string{"a", "ops@gate:22,inner", "ssh://[2001:db8::1]:22", "none", "@", ",", "a:b:c", "[::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hops, err := ParseJump(s)
		for _, h := range hops {
			if err == nil && (h.Address == "" || strings.ContainsAny(h.Address, " /") || h.Port < 0 || h.Port > 65535) {
				t.Errorf("%q: %+v", s, h)
			}
		}
	})
}

func FuzzProxyCommand(f *testing.F) {
	for _, s := range []string{"ssh -W %h:%p gate", "ssh -J a,b -o User=x gate nc %h %p", "nc -w 1 %h %p", "exec", "ssh -o", `"`, "2>/dev/null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hops, err := parseProxyCommand(s, tokens{alias: "a", host: "h", port: 22, user: "root", home: "/home/x"})
		for _, h := range hops {
			if err == nil && h.Address == "" {
				t.Errorf("%q: %+v", s, h)
			}
		}
	})
}

// pieces is a connection on which a server says something, in pieces.
type pieces struct {
	net.Conn
	said  []byte
	piece int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.said) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.said[:min(len(p.said), p.piece)])
	p.said = p.said[n:]
	return n, nil
}

// What a server says first is kept for the error, and comes through as it is.
func FuzzServerBanner(f *testing.F) {
	f.Add([]byte("SSH-2.0-OpenSSH_9.2\r\n"), uint8(1), uint8(1))
	f.Add([]byte("Exceeded MaxStartups\r\n"), uint8(9), uint8(40))
	f.Add([]byte("\x1b[2J\xff\n\nHTTP"), uint8(2), uint8(3))
	f.Add(bytes.Repeat([]byte("x"), 2*recorded), uint8(255), uint8(7))
	f.Fuzz(func(t *testing.T, said []byte, piece, read uint8) {
		c := &recordingConn{Conn: &pieces{said: said, piece: int(piece) + 1}}
		var got []byte
		buf := make([]byte, int(read)+1)
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, said) {
			t.Fatalf("read %q of %q", got, said)
		}
		isFull(c.head())
		if line := firstLine(c.head()); len(line) > 210 || len(c.head()) > recorded {
			t.Errorf("kept %q", line)
		}
		if said := oneLine(string(said)); !utf8.ValidString(said) || strings.ContainsAny(said, "\x1b\n\r") {
			t.Errorf("told %q", said)
		}
	})
}
