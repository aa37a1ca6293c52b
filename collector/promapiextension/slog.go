package promapiextension

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapHandler passes what Prometheus logs on to the Collector's logger.
type zapHandler struct{ log *zap.Logger }

func newSlog(log *zap.Logger) *slog.Logger { return slog.New(zapHandler{log}) }

// level lowers what Prometheus finds worth telling: its routine is of no
// interest to those who did not know they were running it.
func level(l slog.Level) zapcore.Level {
	switch {
	case l >= slog.LevelError:
		return zap.ErrorLevel
	case l >= slog.LevelWarn:
		return zap.WarnLevel
	}
	return zap.DebugLevel
}

// Enabled implements slog.Handler.
func (h zapHandler) Enabled(_ context.Context, l slog.Level) bool {
	return h.log.Core().Enabled(level(l))
}

// Handle implements slog.Handler.
func (h zapHandler) Handle(_ context.Context, r slog.Record) error {
	entry := h.log.Check(level(r.Level), r.Message)
	if entry == nil {
		return nil
	}
	var fields []zap.Field
	r.Attrs(func(a slog.Attr) bool {
		fields = append(fields, zap.Any(a.Key, a.Value.Resolve().Any()))
		return true
	})
	entry.Write(fields...)
	return nil
}

// WithAttrs implements slog.Handler.
func (h zapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := make([]zap.Field, len(attrs))
	for i, a := range attrs {
		fields[i] = zap.Any(a.Key, a.Value.Resolve().Any())
	}
	return zapHandler{h.log.With(fields...)}
}

// WithGroup implements slog.Handler.
func (h zapHandler) WithGroup(name string) slog.Handler { return zapHandler{h.log.Named(name)} }
