package inventory

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Show returns the inventory as YAML: what the file says, or, with defaults, all that it means, paths absolute. It holds no
// secrets, because inventories hold none: passwords and keys are named, not written.
func Show(c *Cluster, defaults bool) ([]byte, error) {
	if !defaults && c.doc != nil {
		c, _, _ = decode(&document{root: c.doc.root, positions: map[string]position{}}) // it has been decoded before, without problems
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
