package cpushare

import (
	"math"
	"testing"
	"time"
)

const msec = time.Millisecond

// The credit of a request that only computes, measured in the local emulation
// at sizes from 128 to 1536 MB: c/v less the duration.
func TestSupplyAgainstMeasuredCredits(t *testing.T) {
	for _, c := range []struct{ memoryMB, credit float64 }{
		{128, 23}, {256, 22}, {512, 17}, {768, 17}, {1024, 13}, {1536, 5},
	} {
		v := Share(c.memoryMB)
		used := 40 * msec
		got := used.Seconds()/v - Supply(used, v, 1, 1).Seconds()
		if math.Abs(1000*got-c.credit) > 2.5 {
			t.Errorf("%v MB: a credit of %.1f ms, measured %v ms", c.memoryMB, 1000*got, c.credit)
		}
	}
}

func TestSupply(t *testing.T) {
	f := func(c time.Duration, v, p, idle float64, want time.Duration) {
		t.Helper()
		if got := Supply(c, v, p, idle); (got - want).Abs() > msec/10 {
			t.Errorf("%v at a share of %v on %v CPUs: %v, want %v", c, v, p, got, want)
		}
	}
	f(30*msec, 1, 1, 1, 30*msec)
	f(30*msec, 1.7, 1, 1, 30*msec)   // more than one CPU is of no use to one thread
	f(30*msec, 2, 2, 1, 15*msec)     // it is to two
	f(30*msec, 0.25, 1, 0, 120*msec) // back to back there is no credit
	f(30*msec, 0.25, 1, .5, 110600*time.Microsecond)
}

func TestFullSpeed(t *testing.T) {
	f := func(what string, memoryMB float64, r Request, want time.Duration) {
		t.Helper()
		if got := r.FullSpeed(memoryMB); (got - want).Abs() > msec/10 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("throttled", 1024, Request{Duration: 50 * msec, CPU: 30 * msec, RunDelay: 15 * msec, Idle: true}, 35*msec)
	f("delay that the quota cannot have caused", 1024, Request{Duration: 50 * msec, CPU: 9 * msec, RunDelay: 15 * msec, Idle: true}, 50*msec)
	f("delay above one CPU", 3008, Request{Duration: 50 * msec, CPU: 30 * msec, RunDelay: 15 * msec}, 50*msec)
	f("two threads above one CPU", 1769, Request{Duration: 40 * msec, CPU: 60 * msec, RunDelay: 10 * msec}, 30*msec)
	f("more delay than can be", 1024, Request{Duration: 50 * msec, CPU: 30 * msec, RunDelay: 49 * msec}, 15*msec)
	// 22 ms of CPU time and a wait of 20: at 128 MB its work hops between threads.
	hopping := Request{Duration: 300 * msec, CPU: 22 * msec, RunDelay: 200 * msec, Busiest: 11 * msec, Idle: true}
	if got := hopping.FullSpeed(128); got >= 100*msec || got <= 22*msec {
		t.Errorf("hopping: %v, want between what the one and the other view say", got)
	}
	f("one thread", 128, Request{Duration: 300 * msec, CPU: 22 * msec, RunDelay: 258 * msec, Busiest: 22 * msec, Idle: true}, 42*msec)
}

func TestPlausible(t *testing.T) {
	f := func(memoryMB float64, duration, cpu time.Duration, want bool) {
		t.Helper()
		if got := (Request{Duration: duration, CPU: cpu}).Plausible(memoryMB); got != want {
			t.Errorf("%v of CPU time in %v at %v MB: %v", cpu, duration, memoryMB, got)
		}
	}
	f(512, 100*msec, 35*msec, true)
	f(512, 100*msec, 60*msec, false)
	f(128, 10*msec, 7*msec, true) // the credit and a tick
	f(128, 10*msec, 20*msec, false)
	f(1769, 10*msec, 20*msec, true) // two threads
}
