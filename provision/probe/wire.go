package probe

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// hello is what a client sends before its payload: one line of JSON.
type hello struct {
	Nonce string `json:"nonce"`
	Size  int    `json:"size"` // bytes of payload that follow
}

// Reply is what a server answers before it sends the payload back: one line of JSON.
type Reply struct {
	Who
	Nonce  string `json:"nonce"`
	Client string `json:"client"` // the address the server saw, without the port
	Size   int    `json:"size"`   // bytes of payload that arrived
	SHA256 string `json:"sha256"` // of the payload that arrived
}

// maxLine bounds a line of the protocol.
const maxLine = 4 << 10

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
