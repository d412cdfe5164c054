package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

const (
	tokenNamePrefix = "bootstrap-token-"
	tokenGroup      = "system:bootstrappers:kubeadm:default-node-token" // what kubeadm's RBAC rules let join
	redacted        = "<redacted>"
)

// Token is a bootstrap token with which nodes may join. Whatever prints, logs or marshals it shows its ID alone; Reveal gives
// the secret. The secret is behind a pointer so that fmt does not find it inside other structs either.
type Token struct {
	ID      string
	Expires time.Time
	secret  *string
}

// Reveal is the whole token, for a join configuration that travels to a host as a file's content.
func (t Token) Reveal() string {
	if t.secret == nil {
		return ""
	}
	return t.ID + "." + *t.secret
}

// String shows the ID alone.
func (t Token) String() string { return t.ID + "." + redacted }

// Format shows the ID alone, whatever the verb.
func (t Token) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(t.String())) }

// MarshalJSON shows the ID alone.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// LogValue shows the ID alone.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// NewToken makes up a bootstrap token that no API server knows yet: for kubeadm init, which registers the token it is given.
func NewToken() Token {
	// Five bits a letter: an ID that is unlike others', a secret of 80 bits.
	secret := strings.ToLower(rand.Text())[:16]
	return Token{ID: strings.ToLower(rand.Text())[:6], secret: &secret}
}

// CreateToken makes a bootstrap token that ends by itself after ttl, by the control plane's clock. The description finds it
// again in DeleteTokens.
func (c *Client) CreateToken(ctx context.Context, ttl time.Duration, description string) (Token, error) {
	token := NewToken()
	token.Expires = time.Now().Add(ttl).UTC().Truncate(time.Second)
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: tokenNamePrefix + token.ID, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": token.ID, "token-secret": *token.secret, "expiration": token.Expires.Format(time.RFC3339),
			"usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
			"auth-extra-groups": tokenGroup, "description": description,
		},
	}
	tried := false
	err := c.do(ctx, "make a join token", func(ctx context.Context) error {
		_, err := c.core.Secrets(metav1.NamespaceSystem).Create(ctx, object, metav1.CreateOptions{FieldManager: FieldManager})
		if apierrors.IsAlreadyExists(err) && tried {
			return nil // the answer to the first try was lost, the token was made
		}
		tried = true
		return err
	})
	if err != nil {
		return Token{}, err
	}
	return token, nil
}

// The names of what joining hosts know the API server by: kubeadm's constants, and k8s.io/cluster-bootstrap/token/api.
const (
	clusterInfo     = "cluster-info"
	signaturePrefix = "jws-kubeconfig-"
)

// WaitSigned waits until the controller manager has signed cluster-info for the token: without that kubeadm join waits for minutes, and says
// little. Errors: NotReadyError at ctx's end, or others when the API server cannot be watched.
func (c *Client) WaitSigned(ctx context.Context, id string, o WaitOptions) error {
	return c.await(ctx, "join token", o, func(stores []*viewStore) check {
		return func(time.Time) ([]Missing, time.Duration) {
			reason := "does not exist"
			for _, info := range listOf[corev1.ConfigMap](stores[0]) {
				if _, signed := info.Data[signaturePrefix+id]; signed {
					return nil, 0
				}
				reason = "kube-controller-manager has not signed it for the token " + id
			}
			return []Missing{{Object: "configmap " + metav1.NamespacePublic + "/" + clusterInfo, Reason: reason}}, 0
		}
	}, sourceOf(c.core.ConfigMaps(metav1.NamespacePublic), &corev1.ConfigMap{}, named(clusterInfo), nil))
}

// DeleteToken ends a token at once. One that is gone already is no error.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.do(ctx, "delete join token "+id, func(ctx context.Context) error {
		err := c.core.Secrets(metav1.NamespaceSystem).Delete(ctx, tokenNamePrefix+id, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// DeleteTokens ends every bootstrap token of that description, for instance those an interrupted run left, and says how many.
func (c *Client) DeleteTokens(ctx context.Context, description string) (int, error) {
	var ids []string
	err := c.do(ctx, "list join tokens", func(ctx context.Context) error {
		list, err := c.core.Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("type", string(corev1.SecretTypeBootstrapToken)).String(),
		})
		if err != nil {
			return err
		}
		ids = nil
		for _, secret := range list.Items {
			if string(secret.Data["description"]) == description {
				ids = append(ids, strings.TrimPrefix(secret.Name, tokenNamePrefix))
			}
		}
		return nil
	})
	deleted := 0
	for _, id := range ids {
		if failed := c.DeleteToken(ctx, id); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		deleted++
	}
	return deleted, err
}
