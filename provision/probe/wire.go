package probe

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// Secret is what the probes of a run share with those who ask them. Who does not know it gets no answer.
type Secret string

// The types of lines. One is never taken for the other: an answer that is sent to another server is not answered.
const (
	typeHello = "hello"
	typeReply = "reply"
)

// hello is what a client sends before its payload: one line of JSON.
type hello struct {
	Type  string `json:"type"` // typeHello
	Nonce string `json:"nonce"`
	Size  int    `json:"size"`          // bytes of payload that follow
	MAC   string `json:"mac"`           // see sign
	Pad   string `json:"pad,omitempty"` // in a datagram, makes the question as long as the answer
}

// Reply is what a server answers before it sends the payload back: one line of JSON.
type Reply struct {
	Type string `json:"type"` // typeReply
	Who
	Nonce  string `json:"nonce"`
	Client string `json:"client"` // the address the server saw, without the port
	Size   int    `json:"size"`   // bytes of payload that arrived
	SHA256 string `json:"sha256"` // of the payload that arrived
	MAC    string `json:"mac"`    // see sign
}

// maxLine bounds a line of the protocol.
const maxLine = 4 << 10

// sign makes a line's MAC: that of the line itself without MAC and padding.
func (s Secret) sign(line any) string {
	b, err := json.Marshal(line)
	if err != nil {
		return "" // strings and numbers: it never fails
	}
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write(b)
	return hex.EncodeToString(mac.Sum(nil))
}

func (s Secret) helloFor(nonce string, size int) hello {
	h := hello{Type: typeHello, Nonce: nonce, Size: size}
	h.MAC = s.sign(h)
	return h
}

// knows reports whether the sender of a hello knows the secret. Without a secret none does.
func (s Secret) knows(h hello) bool {
	mac := h.MAC
	h.MAC, h.Pad = "", ""
	return s != "" && h.Type == typeHello && hmac.Equal([]byte(mac), []byte(s.sign(h)))
}

func (s Secret) signed(r Reply) Reply {
	r.Type, r.MAC = typeReply, ""
	r.MAC = s.sign(r)
	return r
}

// trusts reports whether a reply comes from a probe of the run.
func (s Secret) trusts(r Reply) bool {
	mac := r.MAC
	r.MAC = ""
	return r.Type == typeReply && hmac.Equal([]byte(mac), []byte(s.sign(r)))
}

// padding is by how much a question is longer in a datagram than it need be: as much as an answer holds more, with names as long as Kubernetes
// lets them be. So a forged sender's address gets no more bytes than were spent on it.
const padding = 768

// padded is a hello's line for a datagram.
func padded(h hello) ([]byte, error) {
	h.Pad = strings.Repeat("-", padding)
	return encodeLine(h)
}

// payload is size bytes that follow from the nonce: no two attempts send the same.
func payload(nonce string, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(nonce))).Read(b) // it never fails
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func encodeLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// readLine reads a line of the protocol; a longer one is an error, so that a stranger cannot fill the memory.
func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return errors.New("a line that is too long: this is not a probe")
	}
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("what came is not a probe's: %w", err)
	}
	return nil
}
