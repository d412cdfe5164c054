package remote

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// revokedFile is a file of RevokedHostKeys: the keys in it, by their bytes.
type revokedFile map[string]bool

// readRevoked reads the files of RevokedHostKeys. As with ssh, no host is believed while one cannot be read.
func (k *knownHosts) readRevoked(files []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, path := range files {
		if k.revoked[path] != nil {
			continue
		}
		text, err := readFile(path)
		if err != nil {
			return fmt.Errorf("RevokedHostKeys: %w", err)
		}
		if bytes.HasPrefix(text, []byte("SSHKRL\n")) {
			return fmt.Errorf("RevokedHostKeys: %s is a binary list, which is not read here (list the keys a line each, or pin hostKey in the inventory)", path)
		}
		revoked := revokedFile{}
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
				continue
			}
			key, _, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil {
				return fmt.Errorf("RevokedHostKeys: %s line %d: %w", path, n, err)
			}
			revoked[string(key.Marshal())] = true
		}
		k.revoked[path] = revoked
	}
	return nil
}

// listed returns the file of RevokedHostKeys that has the key; "": none.
func (k *knownHosts) listed(files []string, key ssh.PublicKey) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, path := range files {
		if k.revoked[path][string(key.Marshal())] {
			return path
		}
	}
	return ""
}
