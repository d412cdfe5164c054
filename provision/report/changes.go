package report

import (
	"fmt"
	"strings"
)

// Actions lists the actions, the gravest first.
func Actions() []Action {
	return []Action{Failed, Skipped, Deleted, Created, Configured, Unchanged}
}

// Tally says how often each action occurs: "1 failed, 2 created, 3 unchanged".
func Tally(actions []Action) string {
	count := map[Action]int{}
	for _, a := range actions {
		count[a]++
	}
	var parts []string
	for _, a := range Actions() {
		if count[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[a], a))
		}
	}
	return strings.Join(parts, ", ")
}
