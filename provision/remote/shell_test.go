package remote_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// A host that lets us in and runs nothing says why on stdout.
func TestShell_WhatAHostSaysInsteadIsTold(t *testing.T) {
	tests := []struct {
		name  string
		shell remotetest.NoShell
		text  string
	}{
		{"nologin", remotetest.NoShell{Words: "This account is currently not available.\n", Status: 1},
			`the host runs no commands for user USER: it says "This account is currently not available."`},
		{"nologin, and a home that is not there", remotetest.NoShell{Words: "This account is currently not available.\n", Errors: "Could not chdir to home directory /nonexistent: No such file or directory\n", Status: 1},
			`the host runs no commands for user USER: it says "This account is currently not available. Could not chdir to home directory /nonexistent: No such file or directory"`},
		{"cloud image", remotetest.NoShell{Words: "Please login as the user \"debian\" rather than the user \"root\".\n\n", Status: 142},
			`the host runs no commands for user USER: it says "Please login as the user \"debian\" rather than the user \"root\"."`},
		{"false", remotetest.NoShell{Status: 1},
			"the host runs no commands for user USER: what is started at login ends at once, with status 1 (is its shell nologin or false?)"},
	}
	for _, tt := range tests {
		for _, user := range []string{"root", "ops"} {
			h := remotetest.NewFleet(t, 1, remotetest.Options{User: user}).Hosts[0]
			h.SetNoShell(&tt.shell)
			_, err := connect(t, h, h.Config()).Run(t.Context(), remote.Command{Argv: []string{"id"}, Sudo: true})
			if want := strings.ReplaceAll(tt.text, "USER", user); !errors.Is(err, remote.ErrNoShell) || err.Error() != want {
				t.Errorf("%s: got  %v\nwant %s", tt.name, err, want)
			}
		}
	}
}

// A command's own output is never told, for it may be secret; a host that runs commands is not asked twice.
func TestShell_ACommandThatFailsSilently(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("cat"), func(s *remotetest.Session) int { io.WriteString(s.Stdout, "the key"); return 1 })
	for range 3 {
		_, err := c.Run(t.Context(), remote.Command{Argv: []string{"cat"}})
		if err == nil || err.Error() != "cat: exit status 1" {
			t.Errorf("error %v", err)
		}
	}
	if n := c.Stats().Sessions; n != 4 {
		t.Errorf("%d sessions, want one more than commands", n)
	}
}

// endless is a host that prints for ever.
func endless(s *remotetest.Session) int {
	line := bytes.Repeat([]byte("y\n"), 16<<10)
	for s.Context().Err() == nil {
		if _, err := s.Stdout.Write(line); err != nil {
			break
		}
	}
	return 0
}

func TestRun_OutputIsBounded(t *testing.T) {
	h, c := dial(t, remotetest.Options{})
	h.On(remotetest.Is("yes"), endless)
	h.On(remotetest.Is("much"), func(s *remotetest.Session) int { s.Stdout.Write(make([]byte, 1<<20)); return 0 })
	for name, cmd := range map[string]remote.Command{
		"collected": {},
		"a writer":  {Stdout: io.Discard},
		"asked for": {Limit: 1 << 20},
	} {
		cmd.Argv = []string{"yes"}
		out, err := c.Run(t.Context(), cmd)
		limit := cmd.Limit
		if limit == 0 {
			limit = 8 << 20
		}
		if !errors.Is(err, remote.ErrOutput) || !strings.Contains(err.Error(), "yes: the host printed more than ") || int64(len(out.Stdout)) > limit {
			t.Errorf("%s: %d bytes, %v", name, len(out.Stdout), err)
		}
	}
	// One that ends by itself a moment after it said too much has said too much.
	for range 20 {
		if _, err := c.Run(t.Context(), remote.Command{Argv: []string{"much"}, Limit: 1<<20 - 1}); !errors.Is(err, remote.ErrOutput) {
			t.Fatalf("error %v", err)
		}
	}
	for _, limit := range []int64{1 << 20, -1} {
		if out, err := c.Run(t.Context(), remote.Command{Argv: []string{"much"}, Limit: limit}); err != nil || len(out.Stdout) != 1<<20 {
			t.Errorf("limit %d: %d bytes, %v", limit, len(out.Stdout), err)
		}
	}
}
