package kube

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// kinds is an API server that says what kinds it has, each group by itself. what is told besides, by path: a status, or a text.
func kinds(t *testing.T, besides map[string]any) *Client {
	answers := map[string]any{
		"/api":                                   `{"kind":"APIVersions","versions":["v1"]}`,
		"/api/v1":                                `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"namespaces","kind":"Namespace"},{"name":"persistentvolumes","kind":"PersistentVolume"}]}`,
		"/apis":                                  `{"kind":"APIGroupList","groups":[` + group("apps") + `,` + group("storage.k8s.io") + `,` + group("metrics.k8s.io") + `]}`,
		"/apis/apps/v1":                          `{"kind":"APIResourceList","groupVersion":"apps/v1","resources":[{"name":"daemonsets","kind":"DaemonSet","namespaced":true}]}`,
		"/apis/storage.k8s.io/v1":                `{"kind":"APIResourceList","groupVersion":"storage.k8s.io/v1","resources":[{"name":"storageclasses","kind":"StorageClass"}]}`,
		"/apis/metrics.k8s.io/v1":                http.StatusServiceUnavailable, // its server is away, as it often is
		"/apis/storage.k8s.io/v1/storageclasses": `{"kind":"StorageClassList","apiVersion":"storage.k8s.io/v1","metadata":{},"items":[]}`,
	}
	for path, answer := range besides {
		answers[path] = answer
	}
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch answer := answers[r.URL.Path].(type) {
		case string:
			_, _ = io.WriteString(w, answer)
		case int:
			w.WriteHeader(answer)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": answer, "reason": strings.ReplaceAll(http.StatusText(answer), " ", "")})
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	c.retryFor = time.Nanosecond
	return c
}

func group(name string) string {
	v := `{"groupVersion":"` + name + `/v1","version":"v1"}`
	return `{"name":"` + name + `","versions":[` + v + `],"preferredVersion":` + v + `}`
}

// A group of which the API server does not say what it has is not one that has nothing.
func TestMapping_AGroupThatDoesNotAnswerIsNotOneThatIsNotThere(t *testing.T) {
	class := Kind{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass"}
	object := Object{APIVersion: class.APIVersion, Kind: class.Kind, Name: "fast"}
	snapshots := Kind{APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshotClass"}
	for name, c := range map[string]struct {
		besides map[string]any
		want    string // in every error; "" = there is none
	}{
		"all but one of others":   {nil, ""},
		"busy":                    {map[string]any{"/apis/storage.k8s.io/v1": http.StatusTooManyRequests}, "does not say what there is of storage.k8s.io/v1"},
		"not for everybody":       {map[string]any{"/apis/storage.k8s.io/v1": http.StatusForbidden}, "does not say what there is of storage.k8s.io/v1"},
		"broken":                  {map[string]any{"/apis/storage.k8s.io/v1": "<html>"}, "does not say what there is of storage.k8s.io/v1"},
		"no kinds at all":         {map[string]any{"/apis": "{}"}, "no whole API server: it does not even have the kind DaemonSet"},
		"none that everybody has": {map[string]any{"/api": http.StatusNotFound}, "no whole API server: it does not even have the kind Namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, api := t.Context(), kinds(t, c.besides)
			asked := map[string]func(context.Context) error{
				"owned":      func(ctx context.Context) error { _, _, err := api.Owned(ctx, []Kind{class}, ""); return err },
				"delete":     func(ctx context.Context) error { _, err := api.DeleteObjects(ctx, []Object{object}); return err },
				"has":        func(ctx context.Context) error { _, err := api.HasKind(ctx, class.APIVersion, class.Kind); return err },
				"has, again": func(ctx context.Context) error { _, err := api.HasKind(ctx, class.APIVersion, class.Kind); return err },
			}
			for what, ask := range asked {
				if err := ask(ctx); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if has, err := api.HasKind(ctx, snapshots.APIVersion, snapshots.Kind); c.want == "" && (has || err != nil) {
				t.Errorf("a kind that is not there: %t, %v", has, err)
			}
		})
	}
}

// A group that is gone by the time it is asked has nothing.
func TestMapping_AGroupThatIsGone(t *testing.T) {
	api := kinds(t, map[string]any{"/apis/storage.k8s.io/v1": http.StatusNotFound})
	if has, err := api.HasKind(t.Context(), "storage.k8s.io/v1", "StorageClass"); has || err != nil {
		t.Errorf("gone: %t, %v", has, err)
	}
}
