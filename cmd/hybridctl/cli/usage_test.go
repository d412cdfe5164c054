package cli

import (
	"log/slog"
	"testing"
)

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"up", "up", 0}, {"", "up", 2}, {"up", "", 2}, {"upp", "up", 1}, {"kitten", "sitting", 3}, {"pln", "plan", 1},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"up", "plan", "preflight", "status"}
	for typed, want := range map[string]string{
		"pln": "; did you mean plan?", "prefligt": "; did you mean preflight?", "zzz": "", "x": "", "upp": "; did you mean up?",
	} {
		if got := didYouMean("", typed, names); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

func TestVerbosity(t *testing.T) {
	for in, want := range map[string]slog.Level{
		"0": slog.LevelError, "1": slog.LevelWarn, "2": slog.LevelInfo, "3": slog.LevelDebug, "5": -12,
		"error": slog.LevelError, "WARN": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
	} {
		var v verbosity
		if err := v.Set(in); err != nil || slog.Level(v) != want {
			t.Errorf("%s: %v, %v; want %v", in, slog.Level(v), err, want)
		}
	}
	for _, in := range []string{"6", "-1", "", "loud"} {
		if err := new(verbosity).Set(in); err == nil {
			t.Errorf("%q is no verbosity, but no error", in)
		}
	}
}
