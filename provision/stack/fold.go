package stack

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
)

// folded is the state that a journal comes to. The engine numbers what it does: a resource of the base by its place there, one of
// this run by the operation that made it.
//
// Pulumi has the same in pkg/v3/backend, with refreshes, imports and much else that is never asked of it here; that package brings
// the services of its cloud along, a seventh of all that hybridctl would be compiled from.
type folded struct {
	begun  bool
	base   apitype.DeploymentV3
	old    []*apitype.ResourceV3 // the base's; nil = gone
	made   []*apitype.ResourceV3 // this run's, in its order; nil = gone again
	madeBy map[int64]int         // operation → place in made
	bytes  bool                  // some text is not UTF-8, which cannot be seen in what is encrypted
}

// add takes one line of the journal. An error means that the line is none that a run of ours writes.
func (f *folded) add(e apitype.JournalEntry) error {
	f.bytes = f.bytes || e.RequiresByteString
	if !foldable(e.Kind) {
		return fmt.Errorf("entry %d is of kind %q, which no run of this program makes", e.SequenceID, e.Kind)
	}
	switch e.Kind {
	case apitype.JournalEntryKindWrite:
		return f.begin(e)
	case apitype.JournalEntryKindSecretsManager:
		f.base.SecretsProviders = e.SecretsProvider
	case apitype.JournalEntryKindSuccess:
		return f.succeed(e)
	case apitype.JournalEntryKindOutputs:
		return f.replace(e)
	}
	return nil // of what only began, or failed, nothing has come
}

// foldable reports whether add knows what to make of such entries. The others are of refreshes, imports and the like.
func foldable(k apitype.JournalEntryKind) bool {
	switch k {
	case apitype.JournalEntryKindBegin, apitype.JournalEntryKindSuccess, apitype.JournalEntryKindFailure,
		apitype.JournalEntryKindOutputs, apitype.JournalEntryKindWrite, apitype.JournalEntryKindSecretsManager:
		return true
	}
	return false
}

func (f *folded) begin(e apitype.JournalEntry) error {
	if e.NewSnapshot == nil {
		return fmt.Errorf("entry %d has no base", e.SequenceID)
	}
	*f = folded{begun: true, base: *e.NewSnapshot, madeBy: map[int64]int{}, bytes: f.bytes}
	for i := range f.base.Resources {
		f.old = append(f.old, &f.base.Resources[i])
	}
	return nil
}

func (f *folded) succeed(e apitype.JournalEntry) error {
	if e.State != nil {
		f.madeBy[e.OperationID] = len(f.made)
		f.made = append(f.made, e.State)
	}
	for _, mark := range []struct {
		old, made *int64
		change    func(**apitype.ResourceV3)
	}{
		{e.DeleteOld, e.DeleteNew, func(r **apitype.ResourceV3) { (*r).Delete = true }},
		{e.PendingReplacementOld, e.PendingReplacementNew, func(r **apitype.ResourceV3) { (*r).PendingReplacement = true }},
		{e.RemoveOld, e.RemoveNew, func(r **apitype.ResourceV3) { *r = nil }},
	} {
		if err := f.change(e, mark.old, mark.made, mark.change); err != nil {
			return err
		}
	}
	return nil
}

// replace is for outputs that come after the resource: those of a component, or of a read.
func (f *folded) replace(e apitype.JournalEntry) error {
	if e.State == nil {
		return nil
	}
	return f.change(e, e.RemoveOld, e.RemoveNew, func(r **apitype.ResourceV3) { *r = e.State })
}

// change changes the resources that the entry names, if it names any and they are still there.
func (f *folded) change(e apitype.JournalEntry, old, made *int64, change func(**apitype.ResourceV3)) error {
	if old != nil {
		if *old < 0 || *old >= int64(len(f.old)) {
			return fmt.Errorf("entry %d names resource %d of a base that has %d", e.SequenceID, *old, len(f.old))
		}
		if r := &f.old[*old]; *r != nil {
			change(r)
		}
	}
	if made != nil {
		at, known := f.madeBy[*made]
		if !known {
			return fmt.Errorf("entry %d names a resource of operation %d, which made none", e.SequenceID, *made)
		}
		if r := &f.made[at]; *r != nil {
			change(r)
		}
	}
	return nil
}

// deployment is the state, what this run made first: everything comes after what it depends on.
func (f *folded) deployment() (*apitype.TypedDeployment, error) {
	d := f.base
	d.Resources, d.PendingOperations = []apitype.ResourceV3{}, nil
	features := map[string]bool{}
	for _, r := range slices.Concat(f.made, f.old) {
		if r != nil {
			d.Resources = append(d.Resources, *r)
			stack.ApplyFeatures(*r, f.bytes, features)
		}
	}
	manifest := deploy.Manifest{Time: time.Now(), Version: version.Version}
	manifest.Magic = manifest.NewMagic()
	d.Manifest = manifest.Serialize()
	schema := apitype.DeploymentSchemaVersionCurrent
	if len(features) > 0 {
		schema = apitype.DeploymentSchemaVersionLatest
	}
	whole, err := d.NormalizeURNReferences()
	if err != nil {
		return nil, err
	}
	return &apitype.TypedDeployment{Deployment: whole, Version: schema, Features: slices.Sorted(maps.Keys(features))}, nil
}
