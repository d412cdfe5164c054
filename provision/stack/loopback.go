package stack

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// The engine speaks gRPC with the program and the provider on 127.0.0.1, where everybody on the machine may dial, and has no place for
// an interceptor of ours. So the codec asks for the token: every message between the two begins with what only this process knows,
// and a message of anybody else is refused before a handler sees it.
//
// gRPC finds its codec by name, in a table that may be written while packages are initialised. Nothing else here speaks gRPC.
func init() {
	encoding.RegisterCodecV2(ownMessages{CodecV2: encoding.GetCodecV2(proto.Name), token: newToken()})
}

const tokenSize = 32

func newToken() []byte {
	token := make([]byte, tokenSize)
	rand.Read(token) // ends the process rather than fail
	return token
}

var errForeignMessage = errors.New("this message is not of the process that serves here")

// ownMessages is gRPC's codec for messages that this process sends itself.
type ownMessages struct {
	encoding.CodecV2
	token []byte
}

func (c ownMessages) Marshal(v any) (mem.BufferSlice, error) {
	body, err := c.CodecV2.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(mem.BufferSlice{mem.SliceBuffer(c.token)}, body...), nil
}

func (c ownMessages) Unmarshal(data mem.BufferSlice, v any) error {
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	message := whole.ReadOnlyData()
	if len(message) < tokenSize || subtle.ConstantTimeCompare(message[:tokenSize], c.token) != 1 {
		return errForeignMessage
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{mem.SliceBuffer(message[tokenSize:])}, v)
}
