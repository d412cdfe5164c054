package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFrom_FileBeforeEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("of the file\r\nand more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_TEST", "of the environment")
	for _, test := range []struct{ file, env, want, fails string }{
		{file, "SECRET_TEST", "of the file", ""},
		{"", "SECRET_TEST", "of the environment", ""},
		{"", "SECRET_TEST_NOT_SET", "", "SECRET_TEST_NOT_SET"},
		{file + "-not-there", "SECRET_TEST", "", "the password's file"},
	} {
		got, err := From("password", test.file, test.env)()
		if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

func TestPrinted_TellsOfTheProgramAndNotOfTheSecret(t *testing.T) {
	dir := t.TempDir()
	if got, err := Printed(context.Background(), []string{"sh", "-c", "pwd"}, dir, nil); err != nil || strings.TrimSpace(got) != dir {
		t.Errorf("%q, %v", got, err)
	}
	_, err := Printed(context.Background(), []string{"sh", "-c", "echo my-secret; exit 3"}, dir, nil)
	if err == nil || strings.Contains(err.Error(), "my-secret") || !strings.Contains(err.Error(), "sh: exit status 3") {
		t.Errorf("error %v", err)
	}
}

// A program that hangs, and one whose child does, holds no one up; what became of a program is a sentence.
func TestPrinted_ProgramsThatAreOfNoUse(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // who still waits there ends
		if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil {
			_ = f.Close()
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		argv []string
		want string
	}{
		"hangs":          {[]string{"sh", "-c", "read x <fifo"}, "sh did not end within 50ms"},
		"its child does": {[]string{"sh", "-c", "cat fifo; echo late"}, "sh did not end within 50ms"},
		"is not there":   {[]string{"no-such-program"}, "no-such-program: no such program in PATH"},
		"no file":        {[]string{"./none"}, "./none: no such file or directory"},
		"no program":     {[]string{"./plain"}, "./plain: permission denied"},
		"never ends":     {[]string{"sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done"}, "sh prints more than 1048576 bytes"},
	} {
		patience := time.Minute
		if strings.Contains(c.want, "did not end") {
			patience = 50 * time.Millisecond
		}
		if _, err := printed(t.Context(), c.argv, dir, nil, patience, 50*time.Millisecond); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := printed(t.Context(), []string{"sh", "-c", "echo it; cat fifo >/dev/null & cat fifo &"}, dir, nil, time.Minute, 50*time.Millisecond)
	if err != nil || got != "it\n" {
		t.Errorf("%q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := printed(ctx, []string{"sh", "-c", "echo it"}, dir, nil, time.Minute, time.Second); !errors.Is(err, context.Canceled) || err.Error() != "sh: context canceled" {
		t.Errorf("%v", err)
	}
}

func TestFrom_WhatHoldsNoSecret(t *testing.T) {
	dir := t.TempDir()
	in := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("EMPTY_FOR_TEST", "")
	for _, c := range []struct{ file, env, want string }{
		{in("empty", ""), "", "the key's file: " + dir + "/empty: its first line is empty"},
		{in("second", "\nhunter2\n"), "", "the key's file: " + dir + "/second: its first line is empty"},
		{dir, "", "is a directory"},
		{"/dev/zero", "", "the key's file: /dev/zero has more than 1048576 bytes"},
		{"", "EMPTY_FOR_TEST", "the environment variable EMPTY_FOR_TEST, which is to hold the key, is empty"},
	} {
		if v, err := From("key", c.file, c.env)(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s%s: %q, %v", c.file, c.env, v, err)
		}
	}
}

// A pipe is read when someone writes into it, and not waited for without end when no one does.
func TestFile_Pipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(pipe, 20*time.Millisecond); err == nil || !strings.HasSuffix(err.Error(), "is no file, and nothing came out of it within 20ms") {
		t.Errorf("%v", err)
	}
	another := pipe + "2"
	if err := syscall.Mkfifo(another, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(another, []byte("it"), 0o600)
	if b, err := readFile(another, time.Minute); err != nil || string(b) != "it" {
		t.Errorf("%q, %v", b, err)
	}
}
