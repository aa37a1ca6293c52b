package coldstartconnector

import (
	"strconv"

	"github.com/thaw-lambda/thaw/internal/cpushare"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// usage counts what an invocation used, of those that the prediction of other
// memory sizes stands on: warm, successful, and with a CPU time.
func (f fold) usage(inv *lifecycle.Invocation, r *lifecycle.Report) {
	succeeded := inv.Status == "" || inv.Status == lifecycle.Success
	if inv.StartType != lifecycle.Warm || !succeeded || !r.Received || !r.Usage.Knows(lifecycle.UsageCPU) {
		return
	}
	request := requestOf(r)
	f.function.observe(cpuUsage, request.CPU.Seconds(), strconv.FormatBool(request.Idle))
	size := float64(f.Environment.MemoryMB)
	if size <= 0 {
		return // nothing that depends on it can be said
	}
	if r.Usage.Knows(lifecycle.UsageRunDelay) {
		f.function.observe(fullSpeed, request.FullSpeed(size).Seconds())
	}
	if !request.Plausible(size) {
		f.function.add(implausibleCPU, 1)
	}
}

// requestOf is the part of an invocation that the function's share of the CPU
// matters for: what extensions add after the run is not.
func requestOf(r *lifecycle.Report) cpushare.Request {
	u := r.Usage
	return cpushare.Request{
		Duration: max(r.Duration-r.ExtensionOverhead, 0),
		CPU:      u.CPU, RunDelay: u.RunDelay, Busiest: u.Busiest,
		Idle: u.IdleGap >= cpushare.Period,
	}
}

// codeUsage codes what usage needs.
func codeUsage(c codec, u *lifecycle.Usage) {
	codeDuration(c, &u.CPU)
	codeDuration(c, &u.RunDelay)
	codeDuration(c, &u.Busiest)
	codeDuration(c, &u.IdleGap)
	codeSlice(c, &u.Unreadable, 1, func(c codec, name *string) { *name = c.str(*name) })
}
