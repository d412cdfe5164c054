package host

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
)

// ClusterMarkFile tells on every host of which cluster hybridctl made it a part. The facts script reads it.
const ClusterMarkFile = "/var/lib/hybridctl/cluster"

// ClusterMark is what that file says, as lines of text:
//
//	name lab          the cluster's name in the inventory
//	ca sha256:<hex>   the pin of the cluster's authority, whose length is known: last, so that a mark that was cut off names no cluster
//
// An earlier hybridctl's has them the other way round.
type ClusterMark struct {
	CA   string
	Name string
}

// What a mark's values may be: they are shown to people, and compared.
var (
	markedCA   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	markedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
)

// Encode returns the mark's text.
func (m ClusterMark) Encode() []byte { return fmt.Appendf(nil, "name %s\nca %s\n", m.Name, m.CA) }

// ParseClusterMark reads a mark's text. Unknown words are passed over: a newer hybridctl may have more to say. An error means that it is not
// known which cluster's the host is.
func ParseClusterMark(text []byte) (m ClusterMark, err error) {
	for line := range strings.Lines(string(text)) {
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "ca":
			m.CA = rest
		case "name":
			m.Name = rest
		}
	}
	if !markedCA.MatchString(m.CA) || !markedName.MatchString(m.Name) {
		return ClusterMark{}, fmt.Errorf("%s names no cluster", ClusterMarkFile)
	}
	return m, nil
}

// WriteClusterMark writes of which cluster the host is a part, whole and synced.
func (h *Host) WriteClusterMark(ctx context.Context, m ClusterMark) error {
	if _, err := h.script(ctx, "cluster-mark", bytes.NewReader(m.Encode()), "write"); err != nil {
		return fmt.Errorf("write %s: %w", ClusterMarkFile, err)
	}
	return nil
}

// ReadClusterMark returns the text of the host's mark; nothing when there is none. The error says why it could not be looked for.
func (h *Host) ReadClusterMark(ctx context.Context) ([]byte, error) {
	out, err := h.script(ctx, "cluster-mark", nil, "read")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ClusterMarkFile, err)
	}
	return out.Stdout, nil
}
