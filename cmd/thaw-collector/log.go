package main

import "go.uber.org/zap/zapcore"

// plainCore leaves out of each line what is the same in all of them: the
// resource, which the Collector adds for those who collect logs of many
// programs in one place.
type plainCore struct{ zapcore.Core }

// With implements zapcore.Core.
func (c plainCore) With(fields []zapcore.Field) zapcore.Core {
	kept := make([]zapcore.Field, 0, len(fields))
	for _, f := range fields {
		if f.Key != "resource" {
			kept = append(kept, f)
		}
	}
	return plainCore{c.Core.With(kept)}
}

// Check implements zapcore.Core.
func (c plainCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}
