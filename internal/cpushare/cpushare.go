// Package cpushare knows how Lambda divides the CPU, and what follows from that
// for a request whose CPU time and run delay were measured: how long it would
// have taken at full speed.
//
// A function has memory/1769 of a core, given out as a quota per period of 20
// ms (a CFS bandwidth limit). Two things follow that a mean share does not
// show. A request that comes after an idle gap finds a full quota, so its first
// part runs at full speed: the burst credit. And a request that needs less than
// one quota is not throttled at all, however small the function.
//
// The constants were fitted in a local emulation of that limit (Linux, HZ=250);
// docs/prediction.md says how well they predict there. On AWS they have not
// been checked.
package cpushare

import (
	"math"
	"time"
)

const (
	// MemoryPerCPU is the memory size in MB of one whole CPU.
	MemoryPerCPU = 1769
	// Period is the period of the quota.
	Period = 20 * time.Millisecond
	// Credit is how much CPU time, at most, a request gets for free after an
	// idle gap: about a period and the tick until the limit is noticed.
	Credit = 24 * time.Millisecond
	// creditExponent shapes how the credit fades towards one whole CPU.
	creditExponent = 0.85
)

// Share is the part of one CPU that a function of that size has. It is above 1
// from 1769 MB on, which only more than one thread can use.
func Share(memoryMB float64) float64 { return memoryMB / MemoryPerCPU }

// Supply is how long it takes to be given c of CPU time on p CPUs at once in a
// function with a share v: c/p where nothing is throttled, and else what the
// quota permits, less the credit. idle is the share of requests that come
// after an idle gap of at least one period, and have the credit.
//
// It can be less than c/p: then the quota is not what limits the request.
func Supply(c time.Duration, v, p, idle float64) time.Duration {
	seconds := c.Seconds() / p
	if v < p {
		seconds = c.Seconds()/v - idle*Credit.Seconds()*math.Pow(1-v/p, creditExponent)
	}
	return time.Duration(seconds * float64(time.Second))
}

// Request is what was measured of one request.
type Request struct {
	// Duration is what the runtime needed, extensions not included.
	Duration time.Duration
	// CPU is the CPU time of the function's processes.
	CPU time.Duration
	// RunDelay is how long the thread that waited longest stood ready to run
	// and was not running; Busiest is the CPU time of the thread that used most.
	RunDelay, Busiest time.Duration
	// Idle is whether there was an idle gap before it.
	Idle bool
}

// hopping is from which ratio of all CPU time to that of the busiest thread,
// and up to which memory size, work is taken to move between threads: Go hands
// a goroutine on when its thread is throttled. No single thread then shows the
// whole delay.
const (
	hoppingRatio = 1.1
	hoppingMaxMB = 600
)

// FullSpeed is how long the request would have taken had it never been
// throttled: its duration less its run delay.
func (r Request) FullSpeed(memoryMB float64) time.Duration {
	v := Share(memoryMB)
	measured := max(r.CPU/2, r.Duration-r.throttled(v))
	if memoryMB > hoppingMaxMB || r.Busiest <= 0 || float64(r.CPU) < hoppingRatio*float64(r.Busiest) {
		return measured
	}
	supplied := r.CPU + max(0, r.Duration-max(r.CPU, Supply(r.CPU, v, 1, r.idle())))
	return time.Duration(math.Sqrt(measured.Seconds()*supplied.Seconds()) * float64(time.Second))
}

// throttled is the part of the run delay that the quota can have caused; the
// scheduler makes threads wait for other reasons too.
func (r Request) throttled(v float64) time.Duration {
	oneThread := float64(r.CPU) <= 1.02*float64(r.Duration)
	withinQuota := float64(r.CPU) < 0.85*v*float64(Period)
	if v >= 1 && oneThread || withinQuota {
		return 0
	}
	return r.RunDelay
}

func (r Request) idle() float64 {
	if r.Idle {
		return 1
	}
	return 0
}

// The slack of the self-check: a tick for the clock, and the excess at which a
// request is held to break it.
const (
	checkTick   = 4 * time.Millisecond
	checkExcess = 2 * time.Millisecond
)

// Plausible checks the CPU clock: no request can have used more than its share
// and the credit. Where the limit lies outside the machine that the clock
// belongs to, the clock may count time that the machine itself did not have,
// and nothing can be concluded from it.
func (r Request) Plausible(memoryMB float64) bool {
	v := Share(memoryMB)
	if v >= 1 {
		return true
	}
	limit := v*r.Duration.Seconds() + v*Credit.Seconds() + (checkTick + checkExcess).Seconds()
	return r.CPU.Seconds() <= limit
}
