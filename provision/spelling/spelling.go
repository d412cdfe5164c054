// Package spelling finds the word that was meant.
package spelling

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that is nearest to what was written, or "" when none is near.
func Nearest(written string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(written)/3)
	for _, candidate := range candidates {
		if d := Distance(strings.ToLower(written), strings.ToLower(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// Distance counts the letters to insert, delete or change (Levenshtein).
func Distance(a, b string) int {
	if len(a) > len(b)+8 { // too far in any case, and keeps nonsense cheap
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := slices.Clone(row)
		row[0] = i + 1
		for j := range len(b) {
			substitute := previous[j]
			if a[i] != b[j] {
				substitute++
			}
			row[j+1] = min(previous[j+1]+1, row[j]+1, substitute)
		}
	}
	return row[len(b)]
}
