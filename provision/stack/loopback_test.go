package stack

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/status"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// listening are the addresses on which this process takes connections, found as a stranger would: in /proc.
func listening(t *testing.T) []string {
	t.Helper()
	sockets := map[string]bool{}
	fds, err := filepath.Glob("/proc/self/fd/*")
	ok(t, err)
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			sockets[target] = true
		}
	}
	f, err := os.Open("/proc/self/net/tcp")
	ok(t, err)
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		const listen, inode = "0A", 9
		field := strings.Fields(lines.Text())
		if len(field) <= inode || field[3] != listen || !sockets["socket:["+field[inode]+"]"] {
			continue
		}
		address, port, _ := strings.Cut(field[1], ":")
		ip, err := hex.DecodeString(address)
		ok(t, err)
		slices.Reverse(ip)
		n, err := strconv.ParseUint(port, 16, 16)
		ok(t, err)
		found = append(found, net.JoinHostPort(net.IP(ip).String(), fmt.Sprint(n)))
	}
	return found
}

// plain is gRPC's codec as every other program has it.
func plain() encoding.CodecV2 {
	codec := encoding.GetCodecV2(proto.Name)
	if ours, is := codec.(ownMessages); is {
		return ours.CodecV2
	}
	return codec
}

// Whoever else is on the machine can dial the engine, and is told nothing and starts nothing.
func TestLoopback_AnswersNobodyElse(t *testing.T) {
	if _, err := os.Stat("/proc/self/net/tcp"); err != nil {
		t.Skip("/proc/self/net/tcp is not there: not a Linux machine")
	}
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	var addresses []string
	asked := 0
	w.onApply = func(ctx context.Context, step plan.Step) {
		if step.ID != "host-1/os" {
			return
		}
		addresses = listening(t)
		for _, address := range addresses {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultCallOptions(grpc.ForceCodecV2(plain())))
			ok(t, err)
			defer conn.Close()
			monitor := pulumirpc.NewResourceMonitorClient(conn)
			_, err = monitor.RegisterResource(ctx, &pulumirpc.RegisterResourceRequest{
				Type: stepType, Name: "host-1/join", Custom: true, AcceptSecrets: true, SupportsPartialValues: true})
			if err == nil {
				t.Errorf("%s registered a stranger's resource", address)
			}
			if status.Code(err) != codes.Unimplemented { // that server has no such method
				asked++
				if !strings.Contains(fmt.Sprint(err), errForeignMessage.Error()) {
					t.Errorf("%s answers a stranger: %v", address, err)
				}
			}
			_, err = pulumirpc.NewEngineClient(conn).Log(ctx, &pulumirpc.LogRequest{Severity: pulumirpc.LogSeverity_ERROR, Message: "a stranger's"})
			if err == nil {
				t.Errorf("%s logged for a stranger", address)
			}
		}
	}
	_, err := Up(context.Background(), s, w.look(p), w, Options{})
	ok(t, err)
	if asked == 0 {
		t.Errorf("none of %v is the engine's monitor", addresses)
	}
	order := w.done()
	if slices.Index(order, "apply host-1/join") < slices.Index(order, "apply host-1/os") || len(order) != len(p.Steps) {
		t.Errorf("done in this order: %v", order)
	}
}

func TestLoopback_Messages(t *testing.T) {
	ours := ownMessages{CodecV2: plain(), token: newToken()}
	sent := &pulumirpc.LogRequest{Message: "hello"}
	bytes, err := ours.Marshal(sent)
	ok(t, err)
	var got pulumirpc.LogRequest
	ok(t, ours.Unmarshal(bytes, &got))
	if got.Message != sent.Message {
		t.Errorf("got %q", got.Message)
	}
	empty, err := ours.Marshal(&pulumirpc.LogRequest{})
	ok(t, err)
	ok(t, ours.Unmarshal(empty, &got))
	theirs, err := ours.CodecV2.Marshal(sent)
	ok(t, err)
	is(t, ours.Unmarshal(theirs, &got), errForeignMessage)
	is(t, ours.Unmarshal(nil, &got), errForeignMessage)
	is(t, ownMessages{CodecV2: plain(), token: newToken()}.Unmarshal(bytes, &got), errForeignMessage)
}
