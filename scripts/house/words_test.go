package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a function that answers yes or no does is "reports whether", as everywhere in Go.
func TestWords_ReportsWhether(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			path := filepath.Join(p.Dir, file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for line := range strings.Lines(string(text)) {
				n++
				if comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok && strings.Contains(comment, "tells whether") {
					t.Errorf("%s:%d: write \"reports whether\"", filepath.Join(p.name(), file), n)
				}
			}
		}
	}
}
