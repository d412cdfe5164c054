package inventory

import (
	"net/netip"
	"regexp"
	"strings"
)

// rule is what the text of a field must look like. The JSON schema shows the same patterns.
type rule struct {
	pattern *regexp.Regexp
	max     int // of characters; 0 = any number
}

func newRule(pattern string, max int) rule { return rule{regexp.MustCompile(pattern), max} }

func (r rule) ok(s string) bool { return (r.max == 0 || len(s) <= r.max) && r.pattern.MatchString(s) }

const (
	subdomain = `[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*` // DNS-1123
	labelWord = `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`
	labelKey  = `(` + subdomain + `/)?` + labelWord
)

var (
	// A node's name is also the value of its label kubernetes.io/hostname, hence not 253 characters.
	nameRule     = newRule(`^`+subdomain+`$`, 63)
	domainRule   = newRule(`^`+subdomain+`$`, 253)
	addressRule  = newRule(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`, 253)
	versionRule  = newRule(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`, 0)
	userRule     = newRule(`^[A-Za-z0-9_][^\s:,/]*$`, 256)
	envRule      = newRule(`^[A-Za-z_][A-Za-z0-9_]*$`, 0)
	argRule      = newRule(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`, 0)
	labelKeyRule = newRule(`^`+labelKey+`$`, 0)
	labelRule    = newRule(`^(`+labelWord+`)?$`, 63)
	durationRule = newRule(`^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`, 0)
	taintRule    = newRule(`^`+labelKey+`(=(`+labelWord+`)?)?:(NoSchedule|PreferNoSchedule|NoExecute)$`, 0)
)

var taintEffects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

var encryptionAlgorithms = []string{"RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"}

// qualifiedName reports whether s is a label or taint key: an optional DNS prefix and a name of at most 63 characters.
func qualifiedName(s string) bool {
	prefix, name, found := strings.Cut(s, "/")
	if !found {
		prefix, name = "", s
	}
	return labelKeyRule.ok(s) && len(prefix) <= 253 && len(name) <= 63
}

func validPort(port int) bool { return port >= 1 && port <= 65535 }

// looksNumeric tells a mistyped IPv4 address from a name.
func looksNumeric(address string) bool {
	return address != "" && strings.Trim(address, "0123456789.") == ""
}

// validAddress reports whether s is an IPv4 address or a name.
func validAddress(s string) bool {
	if looksNumeric(s) {
		ip, err := netip.ParseAddr(s)
		return err == nil && !ip.IsUnspecified()
	}
	return addressRule.ok(s)
}
