package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

// Format is how results are written.
type Format string

const (
	Text Format = "text"
	JSON Format = "json"
	YAML Format = "yaml"
	// SARIF is for findings alone: verbs that have none refuse it.
	SARIF Format = "sarif"
)

// Formats lists the formats in the order help texts name them.
func Formats() []Format { return []Format{Text, JSON, YAML} }

// ParseFormat reads the name of a format; the error is for the user.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if strings.EqualFold(s, string(f)) {
			return f, nil
		}
	}
	if strings.EqualFold(s, string(SARIF)) {
		return SARIF, nil
	}
	return "", fmt.Errorf("must be text, json or yaml (or sarif, for verbs that find something in files)")
}

// Encode writes v as JSON or YAML. Both have the same structure: the names of v's JSON tags.
func Encode(w io.Writer, f Format, v any) error {
	switch f {
	case JSON:
		var doc bytes.Buffer
		enc := json.NewEncoder(&doc)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		_, err := w.Write(ShownJSON(doc.Bytes()))
		return err
	case YAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	default:
		return fmt.Errorf("format %q has no structure", f)
	}
}
