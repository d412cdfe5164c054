package secret

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
