package provision

import (
	"archive/tar"
	"bytes"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/templates"
)

// packed are the certificates that control planes share, as pki-pack.sh packs them.
func packed() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_, files, _ := strings.Cut(templates.Script("pki-pack"), " -chf - ")
	for _, name := range strings.Fields(files) {
		_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(name))})
		_, _ = w.Write([]byte(name))
	}
	_ = w.Close()
	return b.Bytes()
}

// isOthers reports whether the host shows a cluster that is none of these.
func (h *simHost) isOthers(pins []string) bool {
	var shown []string
	if h.member {
		ca := fakeapi.CA
		if h.others {
			ca = fakeapi.OtherCA
		}
		shown = append(shown, pinOf(ca))
	}
	if h.belongs != "" {
		m, err := host.ParseClusterMark([]byte(h.belongs))
		if err != nil {
			m.CA = host.UnknownPin
		}
		shown = append(shown, m.CA)
	}
	strange := slices.DeleteFunc(slices.Clone(shown), func(pin string) bool { return slices.Contains(pins, pin) })
	return slices.ContainsFunc(strange, func(pin string) bool { return pin != host.UnknownPin }) || len(strange) > 0 && len(strange) == len(shown)
}
