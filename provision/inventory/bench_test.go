package inventory

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkParse500Hosts(b *testing.B) {
	var text strings.Builder
	text.WriteString(strings.Replace(valid, "version: v1.36.3", "version: v1.36.3\n    podCIDR: 10.128.0.0/14", 1))
	for i := range 499 {
		fmt.Fprintf(&text, "  - {name: h%d, address: 192.168.%d.%d, jump: a, labels: {rack: r%d}, taints: [\"a=b:NoSchedule\"]}\n", i, i/250, i%250+1, i%20)
	}
	data := []byte(text.String())
	for b.Loop() {
		if _, err := Parse("inventory.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}
