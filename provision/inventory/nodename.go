package inventory

import "strings"

// NodeName is the name that Kubernetes takes for a host called name elsewhere: small letters, digits, hyphens and dots, 63 of them at most
// (DNS-1123, and the label kubernetes.io/hostname). It is empty when nothing of name can stand in one.
func NodeName(name string) string {
	mended := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.TrimSpace(name)))
	if nameRule.ok(mended) {
		return mended
	}
	var labels []string
	for label := range strings.SplitSeq(mended, ".") {
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	mended = strings.Join(labels, ".")
	return strings.TrimRight(mended[:min(len(mended), nameRule.max)], "-.")
}
