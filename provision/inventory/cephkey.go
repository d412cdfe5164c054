package inventory

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// CephKey is the secret of a Ceph user.
type CephKey struct {
	Secret Secret // base64, as ceph prints it
	AES256 bool   // the type that kernels before 7.0 refuse
}

// What a key's first field and its length can say.
const (
	keyHeader    = 12 // type, seconds, nanoseconds and length, little-endian
	keyAES       = 16
	keyAES256    = 32
	keyFormatted = `as "ceph auth get-key client.NAME" prints it`
)

// ParseCephKey reads a user's key: base64 alone, or the line "key = …" of a keyring. What it says is wrong never repeats the key.
func ParseCephKey(text string) (CephKey, error) {
	secret, err := findKey(text)
	if err != nil {
		return CephKey{}, err
	}
	raw, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || strings.ContainsAny(secret, "\r\n") { // which the decoder passes over, and the CSI driver would not
		return CephKey{}, errors.New("it is not base64; it has to stand there " + keyFormatted)
	}
	if len(raw) < keyHeader {
		return CephKey{}, fmt.Errorf("it is cut off: %d bytes, and a key has %d at least", len(raw), keyHeader+keyAES)
	}
	// The seconds and nanoseconds when it was made stand in between.
	length := int(binary.LittleEndian.Uint16(raw[keyHeader-2:]))
	switch {
	case length != len(raw)-keyHeader:
		return CephKey{}, fmt.Errorf("it is damaged: it announces %d bytes of secret and holds %d", length, len(raw)-keyHeader)
	case length != keyAES && length != keyAES256:
		return CephKey{}, fmt.Errorf("it holds a secret of %d bytes, not %d (aes) or %d (aes256k)", length, keyAES, keyAES256)
	case binary.LittleEndian.Uint16(raw) == 0:
		return CephKey{}, errors.New("it is of the type \"none\"")
	}
	return CephKey{Secret: Secret(secret), AES256: length == keyAES256}, nil
}

// findKey takes the key out of what a file, a variable or a command gave.
func findKey(text string) (string, error) {
	text = strings.TrimSpace(text)
	var found []string
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == "key" {
			found = append(found, strings.TrimSpace(value))
		}
	}
	switch {
	case text == "":
		return "", errors.New("it is empty")
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("it is a keyring with %d keys; keep the user's alone", len(found))
	case strings.ContainsAny(text, "\n\r"):
		return "", errors.New("it has several lines and none with \"key = …\"; it has to stand there " + keyFormatted)
	}
	return text, nil
}
