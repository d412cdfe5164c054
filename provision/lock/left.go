package lock

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/host"
)

// TokenFile is in the state directory while a lock on a host is of a run from here. Whoever has the state directory, which one run at a time
// has, and finds it, knows that the run is gone.
const TokenFile = "host-lock"

// Left reports whether an earlier run from the state directory may have left a lock on a host.
func Left(stateDir string) bool {
	_, err := os.Stat(tokenPath(stateDir))
	return err == nil
}

// Token returns the token of the state directory's locks on hosts, and makes it when there is none. Errors: the file's.
func Token(stateDir string) (string, error) {
	token, made, err := Kept(stateDir)
	if made || err != nil {
		return token, err
	}
	text, path := rand.Text(), tokenPath(stateDir)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return "", err
	}
	return tokenIn(stateDir, text), os.Rename(path+".new", path)
}

// Kept returns the token as far as one was made; of a state directory without one it is a token that no lock has. Errors: the file's.
func Kept(stateDir string) (token string, made bool, err error) {
	text, err := os.ReadFile(tokenPath(stateDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", false, err
	}
	return tokenIn(stateDir, string(text)), err == nil, nil
}

// GiveBackLeft gives back the lock on the host where the cluster begins that an earlier run from the state directory, which was ended in the
// middle, has left; with breaks that of any run. It is for after GiveBack. first is nil where that host is not of this run: what was left stays.
// Errors: the host's, or the file's.
func (l *Lock) GiveBackLeft(ctx context.Context, first HostAPI, stateDir string, breaks bool) error {
	token, made, err := Kept(stateDir)
	if err != nil {
		return err
	}
	if l.onHost == nil {
		if first == nil || !made && !breaks {
			return nil
		}
		if _, err := first.GiveLock(ctx, host.LockGiving{Token: token, Break: breaks}); err != nil { // another's is not touched
			return err
		}
	}
	if !made {
		return nil
	}
	return os.Remove(tokenPath(stateDir))
}

func tokenPath(stateDir string) string { return filepath.Join(stateDir, TokenFile) }

// tokenIn is another one where the state directory was copied to, on this machine or on another.
func tokenIn(stateDir, text string) string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	dir, err := filepath.EvalSymlinks(stateDir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		dir = stateDir
	}
	sum := sha256.Sum256([]byte(dir)) // any user of the host can read it
	return text + "@" + name + "/" + hex.EncodeToString(sum[:8])
}
