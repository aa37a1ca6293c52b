package lifecycle

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

func someUsage() *Usage {
	return &Usage{
		CPU: 21300 * time.Microsecond, RunDelay: 39*msec + 250*time.Microsecond, Busiest: 20 * msec, Steal: 10 * msec, IdleGap: 4 * time.Second,
		PeakMemory: 97 << 20, Threads: 11, Tmp: 4096, Received: 5120, Sent: 2048,
		Unreadable: []string{UsageNetwork},
	}
}

func TestUsageRoundTrip(t *testing.T) {
	f := func(u *Usage) {
		t.Helper()
		m := pcommon.NewMap()
		u.put(m)
		d := decoder{m: m}
		if got := d.usage(); d.err != nil || !reflect.DeepEqual(got, u) {
			t.Errorf("%+v comes back as %+v, %v", u, got, d.err)
		}
	}
	f(nil)
	f(someUsage())
	f(&Usage{}) // an invocation that used nothing was measured all the same
	f(&Usage{IdleGap: time.Second, Unreadable: []string{UsageCPU, UsageRunDelay, UsageSteal, UsageMemory, UsageThreads, UsageTmp, UsageNetwork}})
}

func TestUsageKnows(t *testing.T) {
	u := someUsage()
	if !u.Knows(UsageCPU) || u.Knows(UsageNetwork) || (*Usage)(nil).Knows(UsageCPU) {
		t.Error("what is named unreadable is not known, everything else is")
	}
}

func TestUsageDecodeRefuses(t *testing.T) {
	f := func(key string, put func(pcommon.Map)) {
		t.Helper()
		m := pcommon.NewMap()
		someUsage().put(m)
		put(m)
		d := decoder{m: m}
		if d.usage(); d.err == nil || !strings.Contains(d.err.Error(), key) {
			t.Errorf("%s: %v", key, d.err)
		}
	}
	f(AttrUsageCPU, func(m pcommon.Map) { m.PutDouble(AttrUsageCPU, -1) })
	f(AttrUsageThreads, func(m pcommon.Map) { m.PutInt(AttrUsageThreads, -1) })
	f(AttrUsageUnreadable, func(m pcommon.Map) { m.PutStr(AttrUsageUnreadable, strings.Repeat(",", 1000)) })
}
