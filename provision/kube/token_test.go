package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var tokenForm = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`) // kubeadm's

func TestNewToken(t *testing.T) {
	one, two := NewToken(), NewToken()
	if !tokenForm.MatchString(one.Reveal()) {
		t.Error("the token has not kubeadm's form")
	}
	if one.ID == two.ID || *one.secret == *two.secret {
		t.Error("two tokens are alike")
	}
}

func TestWaitSigned(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	public := c.core.ConfigMaps(metav1.NamespacePublic)
	told, done := make(chan []Missing, 100), make(chan error, 1)
	go func() { done <- c.WaitSigned(ctx, "abcdef", WaitOptions{Progress: progressTo(told)}) }()
	expectProgress(t, told, "configmap kube-public/cluster-info: does not exist")
	info := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-info"}, Data: map[string]string{"kubeconfig": "x", "jws-kubeconfig-fedcba": "y"}}
	info, err := public.Create(ctx, info, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := public.Delete(context.Background(), "cluster-info", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	const unsigned = "configmap kube-public/cluster-info: kube-controller-manager has not signed it for the token abcdef"
	expectProgress(t, told, unsigned)
	short, progress := expireWhenTold(t, unsigned)
	if err := c.WaitSigned(short, "abcdef", WaitOptions{Progress: progress}); !errors.Is(err, ErrNotReady) || err.Error() != "join token not ready: "+unsigned {
		t.Errorf("got %v", err)
	}
	info.Data["jws-kubeconfig-abcdef"] = "z"
	if _, err := public.Update(ctx, info, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestToken_LivesAndDies(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	token, err := c.CreateToken(ctx, 10*time.Minute, "join of lives-and-dies")
	if err != nil {
		t.Fatal(err)
	}
	if !tokenForm.MatchString(token.Reveal()) {
		t.Error("the token has not kubeadm's form")
	}
	secrets := c.core.Secrets(metav1.NamespaceSystem)
	secret, err := secrets.Get(ctx, "bootstrap-token-"+token.ID, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"token-id": token.ID, "token-secret": strings.TrimPrefix(token.Reveal(), token.ID+"."), "description": "join of lives-and-dies",
		"usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
		"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token", "expiration": token.Expires.Format(time.RFC3339),
	}
	for key, value := range want {
		if string(secret.Data[key]) != value {
			t.Errorf("%s is not as it should be", key)
		}
	}
	if len(secret.Data) != len(want) || secret.Type != corev1.SecretTypeBootstrapToken {
		t.Errorf("type %s with %d keys", secret.Type, len(secret.Data))
	}
	if left := time.Until(token.Expires); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("expires in %v", left)
	}

	for range 2 { // the second time it is gone already
		if err := c.DeleteToken(ctx, token.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secrets.Get(ctx, secret.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the token is left: %v", err)
	}
}

func TestDeleteTokens_TakesOnlyThoseOfThatDescription(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	for _, description := range []string{"leftover", "leftover", "another's"} {
		if _, err := c.CreateToken(ctx, time.Minute, description); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		if n, err := c.DeleteTokens(ctx, "leftover"); err != nil || n != want {
			t.Errorf("deleted %d, %v; want %d", n, err, want)
		}
	}
	if n, err := c.DeleteTokens(ctx, "another's"); err != nil || n != 1 {
		t.Errorf("deleted %d of another's, %v; want it to have been left alone", n, err)
	}
}

func TestToken_ShowsItsSecretNowhere(t *testing.T) {
	secret := "0123456789abcdef"
	token := Token{ID: "abcdef", secret: &secret}
	inside := struct {
		Token  Token
		hidden Token
	}{token, token}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "token", token, "pointer", &token)
	fmt.Fprintf(&out, "%s %v %+v %#v %q %x %d %v %+v %#v", token, token, token, token, token, token, token, inside, inside, inside)
	fmt.Fprint(&out, token, &token, fmt.Errorf("join: %v", token))
	if err := json.NewEncoder(&out).Encode([]any{token, inside, map[string]Token{"t": token}}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{secret, fmt.Sprintf("%x", secret)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret shows in %s", out.String())
		}
	}
	if token.Reveal() != "abcdef.0123456789abcdef" || token.String() != "abcdef.<redacted>" {
		t.Errorf("Reveal and String: %v", token)
	}
	if (Token{}).Reveal() != "" {
		t.Error("the zero token reveals something")
	}
}
