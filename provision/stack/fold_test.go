package stack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/engine"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
)

func made(name string) *apitype.ResourceV3 {
	return &apitype.ResourceV3{URN: urn.New("test", "hybridctl", "", "hybridctl:index:Step", name), Type: "hybridctl:index:Step"}
}

func base(names ...string) apitype.JournalEntry {
	d := &apitype.DeploymentV3{SecretsProviders: &apitype.SecretsProvidersV1{Type: "first"}}
	for _, n := range names {
		d.Resources = append(d.Resources, *made(n))
	}
	return apitype.JournalEntry{Kind: apitype.JournalEntryKindWrite, NewSnapshot: d}
}

func at(i int64) *int64 { return &i }

func TestFold(t *testing.T) {
	success := func(op int64, e apitype.JournalEntry) apitype.JournalEntry {
		e.Kind, e.OperationID = apitype.JournalEntryKindSuccess, op
		return e
	}
	for name, c := range map[string]struct {
		lines []apitype.JournalEntry
		want  string // names of what is left, in order; d = to be deleted, p = to be replaced
		fails string
	}{
		"the base alone":         {[]apitype.JournalEntry{base("a", "b")}, "a b", ""},
		"new comes first":        {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{State: made("b")})}, "b a", ""},
		"the same again":         {[]apitype.JournalEntry{base("a", "b"), success(1, apitype.JournalEntry{State: made("b"), RemoveOld: at(1)})}, "b a", ""},
		"deleted":                {[]apitype.JournalEntry{base("a", "b"), success(1, apitype.JournalEntry{RemoveOld: at(0)})}, "b", ""},
		"made and deleted again": {[]apitype.JournalEntry{base(), success(1, apitype.JournalEntry{State: made("a")}), success(2, apitype.JournalEntry{RemoveNew: at(1)})}, "", ""},
		"to be deleted":          {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{State: made("a"), DeleteOld: at(0)})}, "a a-d", ""},
		"to be deleted, new":     {[]apitype.JournalEntry{base(), success(1, apitype.JournalEntry{State: made("a")}), success(2, apitype.JournalEntry{DeleteNew: at(1)})}, "a-d", ""},
		"to be replaced": {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{State: made("b"), PendingReplacementOld: at(0)}),
			success(2, apitype.JournalEntry{PendingReplacementNew: at(1)})}, "b-p a-p", ""},
		"outputs of the base's": {[]apitype.JournalEntry{base("a"), {Kind: apitype.JournalEntryKindOutputs, State: made("A"), RemoveOld: at(0)}}, "A", ""},
		"outputs of a new one": {[]apitype.JournalEntry{base(), success(7, apitype.JournalEntry{State: made("a")}),
			{Kind: apitype.JournalEntryKindOutputs, State: made("A"), RemoveNew: at(7)}}, "A", ""},
		"outputs of what is gone": {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{RemoveOld: at(0)}),
			{Kind: apitype.JournalEntryKindOutputs, State: made("A"), RemoveOld: at(0)}}, "", ""},
		"begun and failed": {[]apitype.JournalEntry{base("a"), {Kind: apitype.JournalEntryKindBegin, State: made("b")},
			{Kind: apitype.JournalEntryKindFailure, State: made("c")}}, "a", ""},
		"another base": {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{State: made("b")}), base("c")}, "c", ""},

		"no base in the base":   {[]apitype.JournalEntry{{Kind: apitype.JournalEntryKindWrite}}, "", "has no base"},
		"beyond the base":       {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{RemoveOld: at(1)})}, "", "resource 1 of a base that has 1"},
		"before the base":       {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{DeleteOld: at(-1)})}, "", "resource -1"},
		"of no operation":       {[]apitype.JournalEntry{base("a"), success(1, apitype.JournalEntry{RemoveNew: at(9)})}, "", "operation 9, which made none"},
		"a refresh":             {[]apitype.JournalEntry{base("a"), {Kind: apitype.JournalEntryKindRefreshSuccess}}, "", "no run of this program makes"},
		"of no kind that is":    {[]apitype.JournalEntry{base("a"), {Kind: 99}}, "", "no run of this program makes"},
		"a base that was built": {[]apitype.JournalEntry{base("a"), {Kind: apitype.JournalEntryKindRebuiltBaseState}}, "", "no run of this program makes"},
	} {
		var f folded
		var err error
		for _, e := range c.lines {
			if err = f.add(e); err != nil {
				break
			}
		}
		if c.fails != "" || err != nil {
			if c.fails == "" || !strings.Contains(fmt.Sprint(err), c.fails) {
				t.Errorf("%s: error %v, want %q", name, err, c.fails)
			}
			continue
		}
		d, err := f.deployment()
		ok(t, err)
		var left []string
		for _, r := range d.Deployment.Resources {
			n := r.URN.Name()
			if r.Delete {
				n += "-d"
			}
			if r.PendingReplacement {
				n += "-p"
			}
			left = append(left, n)
		}
		if got := strings.Join(left, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if d.Version != apitype.DeploymentSchemaVersionCurrent || d.Deployment.SecretsProviders.Type != "first" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// What cannot be seen in what is encrypted is told to whoever reads the state.
func TestFold_Features(t *testing.T) {
	e := base("a")
	e.RequiresByteString = true
	var f folded
	ok(t, f.add(e))
	ok(t, f.add(apitype.JournalEntry{Kind: apitype.JournalEntryKindSecretsManager, SecretsProvider: &apitype.SecretsProvidersV1{Type: "second"}}))
	d, err := f.deployment()
	ok(t, err)
	if d.Version != apitype.DeploymentSchemaVersionLatest || !slices.Contains(d.Features, "byteString") || d.Deployment.SecretsProviders.Type != "second" {
		t.Errorf("got %+v", d)
	}
}

// The run is stopped by what could not be read again, not the next one.
func TestJournal_RefusesWhatItCannotRead(t *testing.T) {
	halted := false
	j := &journal{halt: func() { halted = true }}
	ok(t, j.AddJournalEntry(engine.JournalEntry{Kind: engine.JournalEntryRefreshSuccess}))
	if !halted || j.err == nil || !strings.Contains(j.err.Error(), "RefreshSuccess") {
		t.Errorf("halted %v, error %v", halted, j.err)
	}
}
