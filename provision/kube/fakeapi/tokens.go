package fakeapi

import (
	"cmp"
	"context"
	"regexp"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

func (a *API) WaitAPI(context.Context) error {
	a.Lock()
	defer a.Unlock()
	return a.Failing["WaitAPI"]
}

func (a *API) CAHashes() []string {
	hashes, err := kube.CAHashes([]byte(Kubeconfig()))
	if err != nil {
		panic(err)
	}
	return hashes
}

func (a *API) CreateToken(_ context.Context, ttl time.Duration, _ string) (kube.Token, error) {
	t := kube.NewToken()
	a.Lock()
	defer a.Unlock()
	if err := a.Failing["CreateToken"]; err != nil {
		return kube.Token{}, err
	}
	if a.TokenLife != nil {
		ttl = a.TokenLife(ttl)
	}
	t.Expires = time.Now().Add(ttl)
	a.Tokens[t.ID] = true
	a.TokensMade++
	return t, nil
}

var tokenID = regexp.MustCompile(`token: "?([a-z0-9]{6})\.`)

// Lets reports whether the token in a configuration of kubeadm is good, and which it is.
func (a *API) Lets(config []byte) (id string, good bool) {
	if m := tokenID.FindSubmatch(config); m != nil {
		id = string(m[1])
	}
	a.Lock()
	defer a.Unlock()
	return id, a.Tokens[id]
}

// TokensEnd is what the control plane does with tokens whose time is over.
func (a *API) TokensEnd() {
	a.Lock()
	defer a.Unlock()
	clear(a.Tokens)
}

func (a *API) DeleteToken(ctx context.Context, id string) error {
	a.Lock()
	defer a.Unlock()
	if err := cmp.Or(ctx.Err(), a.Failing["DeleteToken"]); err != nil {
		return err
	}
	delete(a.Tokens, id)
	return nil
}
