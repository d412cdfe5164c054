package kube

import (
	"crypto/rand"
	"strings"
)

// NewToken makes up a bootstrap token that no API server knows yet: for kubeadm init, which registers the token it is given.
func NewToken() Token {
	// Five bits a letter: an ID that is unlike others', a secret of 80 bits.
	secret := strings.ToLower(rand.Text())[:16]
	return Token{ID: strings.ToLower(rand.Text())[:6], secret: &secret}
}
