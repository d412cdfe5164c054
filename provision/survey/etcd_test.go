package survey

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// etcds is an API server on whose nodes etcd answers, or does not.
type etcds struct {
	API
	answer map[string][]kube.EtcdMember // by node
}

func (e etcds) EtcdMembers(_ context.Context, node string) ([]kube.EtcdMember, error) {
	if members, ok := e.answer[node]; ok {
		return members, nil
	}
	return nil, errors.New("it does not answer")
}

// Where nobody could be asked, it is not known which members there are.
func TestEtcd(t *testing.T) {
	one := []kube.EtcdMember{{ID: 1, Name: "b"}}
	for name, c := range map[string]struct {
		nodes []string
		asked string
		want  string // "" = no error
	}{
		"the second answers": {[]string{"a", "b"}, "b", ""},
		"none answers":       {[]string{"a", "c"}, "", "on a: it does not answer"},
		"none is there":      {nil, "", "no control plane"},
	} {
		asked, members, err := Etcd(t.Context(), etcds{answer: map[string][]kube.EtcdMember{"b": one}}, c.nodes)
		if asked != c.asked || len(members) > 0 != (c.want == "") || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s, %v, %v", name, asked, members, err)
		}
	}
	// a control plane that lost its label is not seen as one
	found, err := etcdWithout(t.Context(), etcds{}, []kube.Node{{Name: "a", Ready: true}}, []inventory.Host{{Name: "b"}})
	if err == nil {
		t.Errorf("no node is a control plane: %v, and no error", found)
	}
}
