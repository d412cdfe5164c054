package inventory

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

var hostKeyTypes = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

const fingerprintPrefix = "SHA256:"

// checkHostKey says what is wrong with the pin of a host key: "SHA256:…", or a public key as in a .pub file.
func checkHostKey(pin string) error {
	if digest, ok := strings.CutPrefix(pin, fingerprintPrefix); ok {
		sum, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(digest, "="))
		if err != nil || len(sum) != 32 {
			return errors.New("is not a whole SHA256 fingerprint: 43 characters follow the colon")
		}
		return nil
	}
	words := strings.Fields(pin)
	switch {
	case len(words) > 0 && strings.Contains(words[0], "PRIVATE KEY"), len(words) > 1 && words[1] == "OPENSSH":
		return errors.New("is a private key")
	case len(words) > 1 && !slices.Contains(hostKeyTypes, words[0]) && slices.Contains(hostKeyTypes, words[1]):
		return errors.New("begins with a host's name, as known_hosts does: leave that out")
	case len(words) == 0 || !slices.Contains(hostKeyTypes, words[0]):
		return errors.New("begins with no known key type")
	case len(words) == 1:
		return fmt.Errorf("has no key after %s", words[0])
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return errors.New("is damaged: the key is not base64")
	}
	if inside := keyType(blob); inside != words[0] {
		return fmt.Errorf("is damaged: it says %s and is not such a key", words[0])
	}
	return nil
}

// keyType reads the type a public key blob begins with (RFC 4253, 6.6): a length and that many bytes.
func keyType(blob []byte) string {
	if len(blob) < 4 {
		return ""
	}
	length := binary.BigEndian.Uint32(blob)
	if uint64(length) >= uint64(len(blob)-4) { // something must follow
		return ""
	}
	return string(blob[4 : 4+length])
}
