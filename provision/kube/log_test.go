package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

func TestLogs_GoToTheDefaultLoggerAsDiagnostics(t *testing.T) {
	redirectLogs()
	var out bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	for _, tt := range []struct {
		level slog.Level
		shown bool
	}{{slog.LevelInfo, false}, {slog.LevelDebug, true}} {
		out.Reset()
		slog.SetDefault(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tt.level})))
		klog.Background().WithValues("reflector", "nodes").Error(nil, "lost the watch")
		klog.Warning("something else")
		text := out.String()
		if shown := strings.Contains(text, "lost the watch") && strings.Contains(text, "something else"); shown != tt.shown {
			t.Errorf("at %v: %q", tt.level, text)
		}
		if tt.shown && (!strings.Contains(text, "reflector=nodes") || !strings.Contains(text, "level=DEBUG") || strings.Contains(text, "ERROR")) {
			t.Errorf("at %v: %q", tt.level, text)
		}
	}
}
