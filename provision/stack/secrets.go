package stack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/pkg/v3/secrets"
	"github.com/pulumi/pulumi/pkg/v3/secrets/passphrase"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// PassphraseEnv names the environment variable with the passphrase that secrets in the state are encrypted with. Without it they
// are encrypted with a key kept in the state directory.
const PassphraseEnv = "HYBRIDCTL_PASSPHRASE"

const (
	keyFile = "secret.key"
	keyType = "hybridctl-key" // as the state names it
)

// keyring finds the secrets manager for a state. No step has secret inputs today; what the engine may one day be given as
// secret still reaches the disk as ciphertext only.
type keyring struct {
	dir    string
	phrase string
}

// OfType returns the manager that the state was written with.
func (k keyring) OfType(_ context.Context, kind string, state json.RawMessage) (secrets.Manager, error) {
	switch kind {
	case keyType:
		return k.fromFile()
	case passphrase.Type:
		if k.phrase == "" {
			return nil, hint.With(errors.New("the state is encrypted with a passphrase, and none is given"), "set %s", PassphraseEnv)
		}
		var saved struct {
			Salt string `json:"salt"`
		}
		if err := json.Unmarshal(state, &saved); err != nil {
			return nil, err
		}
		m, err := passphrase.GetPassphraseSecretsManager(k.phrase, saved.Salt)
		if errors.Is(err, passphrase.ErrIncorrectPassphrase) {
			return nil, fmt.Errorf("%s is not the passphrase that the state was encrypted with", PassphraseEnv)
		}
		return m, err
	}
	return nil, fmt.Errorf("the state is encrypted in a way this version does not know: %q", kind)
}

// forWriting returns the manager to write a state with that was read with prev, which may be nil.
func (k keyring) forWriting(prev secrets.Manager) (secrets.Manager, error) {
	if k.phrase == "" {
		return k.fromFile()
	}
	if prev != nil && prev.Type() == passphrase.Type {
		return prev, nil
	}
	_, m, err := passphrase.NewPassphraseSecretsManager(k.phrase)
	return m, err
}

// fromFile reads the key, or makes it on first use.
func (k keyring) fromFile() (secrets.Manager, error) {
	path := filepath.Join(k.dir, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, config.SymmetricCrypterKeyBytes)
		rand.Read(key)
		text = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
		err = replace(path, text)
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != config.SymmetricCrypterKeyBytes {
		return nil, fmt.Errorf("%s is not a key of this program", path)
	}
	return keyManager{config.NewSymmetricCrypter(key)}, nil
}

type keyManager struct{ crypter config.Crypter }

func (m keyManager) Type() string                { return keyType }
func (m keyManager) State() json.RawMessage      { return json.RawMessage("{}") }
func (m keyManager) Encrypter() config.Encrypter { return m.crypter }
func (m keyManager) Decrypter() config.Decrypter { return m.crypter }
