package kube

import (
	"context"
	"log/slog"
	"sync"

	"k8s.io/klog/v2"
)

// redirectLogs sends what client-go logs on its own to slog's default logger, as diagnostics: its warnings are about lost
// watches and retries, which this package reports as errors where they matter.
var redirectLogs = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(diagnostics{})) })

// diagnostics forwards to the default logger of the moment, at debug level whatever the record says.
type diagnostics struct {
	with []func(slog.Handler) slog.Handler // attributes and groups, replayed on each record
}

func (d diagnostics) Enabled(ctx context.Context, _ slog.Level) bool {
	return slog.Default().Handler().Enabled(ctx, slog.LevelDebug)
}

func (d diagnostics) Handle(ctx context.Context, r slog.Record) error {
	if !d.Enabled(ctx, r.Level) { // klog does not ask before it hands errors on
		return nil
	}
	r = r.Clone()
	r.Level = slog.LevelDebug
	handler := slog.Default().Handler()
	for _, add := range d.with {
		handler = add(handler)
	}
	return handler.Handle(ctx, r)
}

func (d diagnostics) WithAttrs(attrs []slog.Attr) slog.Handler {
	return d.and(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (d diagnostics) WithGroup(name string) slog.Handler {
	return d.and(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (d diagnostics) and(add func(slog.Handler) slog.Handler) slog.Handler {
	return diagnostics{with: append(d.with[:len(d.with):len(d.with)], add)}
}
