package lifecycle

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Attributes of what Thaw's own extension costs.
const (
	AttrSelfRegistered = "thaw.self.registered_ms"
	AttrSelfSubscribed = "thaw.self.subscribed_ms"
	AttrSelfReady      = "thaw.self.ready_ms"
	AttrSelfCPU        = "thaw.self.cpu_ms"
	AttrSelfMaxRSS     = "thaw.self.max_rss"
	AttrSelfHeld       = "thaw.self.held_invocations"
	AttrSelfAdded      = "thaw.self.added_ms"
)

// SelfCost is what the extension itself used until it was ready.
type SelfCost struct {
	// Registered, Subscribed and Ready are the times from its exec until the
	// platform had registered it, until it was subscribed to telemetry (0 if it
	// is not), and until its first call of next.
	Registered, Subscribed, Ready time.Duration
	// CPU is user plus system time, up to that moment.
	CPU time.Duration
}

func (s SelfCost) put(m pcommon.Map) {
	if s.Ready <= 0 {
		return
	}
	if s.Registered > 0 {
		m.PutDouble(AttrSelfRegistered, ms(s.Registered))
	}
	if s.Subscribed > 0 {
		m.PutDouble(AttrSelfSubscribed, ms(s.Subscribed))
	}
	m.PutDouble(AttrSelfReady, ms(s.Ready))
	m.PutDouble(AttrSelfCPU, ms(s.CPU))
}

func (d *decoder) selfCost() SelfCost {
	return SelfCost{
		Registered: d.ms(AttrSelfRegistered), Subscribed: d.ms(AttrSelfSubscribed),
		Ready: d.ms(AttrSelfReady), CPU: d.ms(AttrSelfCPU),
	}
}

// Waiting is what the flush policy added to invocations.
type Waiting struct {
	// Held counts the invocations that the extension prolonged until they were
	// sent, Added is by how much, in all.
	Held  int64
	Added time.Duration
}

func (w Waiting) put(m pcommon.Map) {
	m.PutInt(AttrSelfHeld, w.Held)
	m.PutDouble(AttrSelfAdded, ms(w.Added))
}

func (d *decoder) waiting() Waiting {
	return Waiting{Held: d.int(AttrSelfHeld), Added: d.ms(AttrSelfAdded)}
}

func selfAttributes() []Attribute {
	return []Attribute{
		{AttrSelfRegistered, "init", "double", "ms", "Thaw's own extension: exec until the platform had registered it"},
		{AttrSelfSubscribed, "init", "double", "ms", "Thaw's own extension: exec until it was subscribed to telemetry"},
		{AttrSelfReady, "init", "double", "ms", "Thaw's own extension: exec to first call of next"},
		{AttrSelfCPU, "init, shutdown", "double", "ms", "CPU time of Thaw's own extension, so far"},
		{AttrSelfMaxRSS, "shutdown", "int", "By", "largest resident memory of Thaw's own extension"},
		{AttrSelfHeld, "shutdown", "int", "{invocation}", "invocations that Thaw's own extension prolonged until they were sent (THAW_FLUSH)"},
		{AttrSelfAdded, "shutdown", "double", "ms", "by how much, in all"},
	}
}
