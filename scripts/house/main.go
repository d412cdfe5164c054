// Command house prints the picture of the project as a house, and fails when it is worse than the limits: how many floors it has, which
// arrows run back up, how large its largest type is, and how much stands in its front door. Packages are rooms; in the front door, where
// the verbs are, each file is one, so that it cannot hide a circle.
//
//	go run ./scripts/house [-C DIRECTORY] [-v]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// limits are what was reached; a change that makes one better lowers it here.
var limits = picture{Floors: 13, Back: 0, Methods: 25, FrontMethods: 5, Lines: 1152}

// larger are types that have more methods than the limit, each with how many: they may lose some and gain none. kube.Client has a verb for every
// call, and its users each an interface of the few that they use; a fake has as many as what it stands for.
var larger = map[string]int{
	"cmd/hybridctl/cli.app":             66,
	"provision/fetch.fetcher":           44,
	"provision/host.Host":               36,
	"provision/inventory.validator":     59,
	"provision/inventory/edit.document": 30,
	"provision/kube.Client":             94,
	"provision/kube/fakeapi.API":        63,
	"provision/plan.builder":            55,
	"provision/remote/remotetest.Host":  45,
	"provision/steps.Steps":             44,
	"provision/yamltext.Text":           27,
}

// shared are the files of the front door that verbs share; every other is a verb, and verbs do not call one another.
var shared = []string{"provision.go", "options.go", "run.go", "proving.go", "results.go"}

// picture is the house in figures.
type picture struct {
	Floors       int // the longest way from room to room
	Back         int // arrows that run back up
	Methods      int // of the largest type that is not in larger
	FrontMethods int // of the largest type of the front door
	Lines        int // of the front door, tests left out
}

func main() {
	dir := flag.String("C", ".", "the checkout's top `DIRECTORY`")
	verbose := flag.Bool("v", false, "name the floors, the arrows and the types")
	flag.Parse()
	h, err := look(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
	h.print(os.Stdout, *verbose)
	if err := errors.Join(h.beyond(limits)...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// house is what was seen.
type house struct {
	picture
	way      []string    // the longest
	back     [][2]string // the arrows
	calls    [][2]string // from one verb's file into another's
	largest  string      // type
	grown    []string    // types that have more methods than larger says
	frontMax string
}

func (h house) print(w *os.File, verbose bool) {
	fmt.Fprintf(w, "floors                          %4d\n", h.Floors)
	fmt.Fprintf(w, "arrows that run back up         %4d\n", h.Back)
	fmt.Fprintf(w, "calls between files of verbs    %4d\n", len(h.calls))
	fmt.Fprintf(w, "methods of the largest type     %4d  %s; %d others have more\n", h.Methods, h.largest, len(larger))
	fmt.Fprintf(w, "the same in the front door      %4d  %s\n", h.FrontMethods, h.frontMax)
	fmt.Fprintf(w, "lines of the front door         %4d\n", h.Lines)
	if !verbose {
		return
	}
	fmt.Fprintf(w, "\nthe longest way: %s\n", strings.Join(h.way, " → "))
	for _, a := range h.back {
		fmt.Fprintf(w, "back up: %s → %s\n", a[0], a[1])
	}
	for _, a := range h.calls {
		fmt.Fprintf(w, "a verb calls another: %s → %s\n", a[0], a[1])
	}
}

// beyond says what is worse than the limits.
func (h house) beyond(l picture) (out []error) {
	for _, c := range []struct {
		what     string
		is, most int
	}{
		{"floors", h.Floors, l.Floors}, {"arrows that run back up", h.Back, l.Back}, {"methods of the largest type, " + h.largest, h.Methods, l.Methods},
		{"methods of the front door's largest type, " + h.frontMax, h.FrontMethods, l.FrontMethods}, {"lines of the front door", h.Lines, l.Lines},
	} {
		if c.is > c.most {
			out = append(out, fmt.Errorf("%s: %d, at most %d: go run ./scripts/house -v names them", c.what, c.is, c.most))
		}
	}
	for _, name := range h.grown {
		out = append(out, fmt.Errorf("%s: at most %d; split it by what its methods use, or say in larger why it has to grow", name, larger[strings.Fields(name)[0]]))
	}
	for _, a := range h.calls {
		out = append(out, fmt.Errorf("%s uses what %s declares: files of verbs do not call one another; what both need belongs into a room beneath, or into %s",
			a[0], a[1], strings.Join(shared, ", ")))
	}
	return out
}

// isVerb reports whether a room is a verb's file.
func isVerb(room string) bool {
	file, front := strings.CutPrefix(room, front+"/")
	return front && strings.HasSuffix(file, ".go") && !slices.Contains(shared, file)
}
