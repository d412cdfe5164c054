// Package quiet keeps a library from talking to the terminal before main begins. The engine links bubbletea v1, which asks the
// terminal for its background colour while packages are initialised: a terminal that does not answer costs five seconds in which
// ^C kills without a word, and what the user has typed is swallowed. The library does not ask where CI is set.
// See https://github.com/charmbracelet/bubbletea/blob/v1.3.10/tea_init.go, which promises that version 2 will not.
package quiet

import "os"

// hushed is set while packages are initialised. Go initialises, of all packages that are ready, the one with the first import path;
// this one needs nothing but os and comes before the libraries that bubbletea needs, so it is always early enough.
var hushed = hush()

func hush() bool {
	if _, set := os.LookupEnv("CI"); set {
		return false
	}
	return os.Setenv("CI", "true") == nil
}

// Over puts the environment back. It is the first thing that main does.
func Over() {
	if hushed {
		_ = os.Unsetenv("CI") // it was set by this package
	}
}
