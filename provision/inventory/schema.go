package inventory

import (
	_ "embed"
	"slices"
)

// schema.json is made from the types, their comments and the rules of validation by TestSchema_IsThatOfTheTypes, with -update.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON schema (draft 2020-12) of the document, for editors and for checks without hybridctl. What it accepts
// may still be refused: a schema cannot compare fields.
func Schema() ([]byte, error) { return slices.Clone(schema), nil }
