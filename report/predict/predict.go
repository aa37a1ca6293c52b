// Package predict says how long a function would take at memory sizes at which
// it has not run, from what was measured at one size.
//
// The usual production function has one size. Its duration alone says nothing
// about others: a wait and a computation of 100 ms look alike. What tells them
// apart is measured beside the function: its CPU time, and its run delay, the
// time that it stood ready to run and was not running.
//
// # The model
//
// A function of m MB has a share v = m/1769 of a CPU, given out as a quota per
// period of 20 ms. [cpushare.Supply] is how long it takes to be given c of CPU
// time under that quota, the burst credit after an idle gap included. There are
// two tiers.
//
// Tier A, where the run delay can be read. The duration at full speed S is what
// remains of it without the delay, and is the prediction for every size that is
// not throttled. Of S, min(C, S) is computing, the rest waiting; C above S is
// work on two CPUs at once, p = C/S. A smaller size adds delay: all that
// supply takes longer than computing, if the function waits and computes in
// turn (coarse), or only what it takes longer than S, if it computes while it
// waits (fine). How far it is between the two follows from the delay at the
// size that ran.
//
//	theta = D - S                   the delay measured
//	tc(m) = max(0, X(C,m,p) - min(C,S))
//	tf(m) = max(0, X(C,m,p) - S)
//	l     = (theta - tf)/(tc - tf)  in [0, 1]; 0.75 where the two do not differ
//	D(m') = (S + l tc(m') + (1-l) tf(m')) r^(1/(1 + |ln(v'/v)|/2))
//
// r is the ratio of the duration measured to what this gives for the size that
// ran: what the model misses of a function it misses at the sizes nearby too.
// Without r the median error of the evaluation is 10 % instead of 7 % (any
// fading between 0.3 and 1 in place of 1/2 is as good).
//
// Tier B, where it cannot: the wait is what supply does not explain, and waits
// and computing are taken to be in turn.
//
//	p = C/D in [1, 2];  W = max(0, D - max(C/p, X(C,m,p)))
//	D(m') = W + max(C/p, X(C,m',p))
//
// # The interval
//
// 90 % of functions like those of the evaluation lay in
//
//	D(m') exp(±z),  z = Q (0.02 + u (0.10 + 0.12 |ln(v'/v)|))
//
// where u is how much of the duration the CPU governs at the worse of both
// sizes. Q was fitted so that, leaving out one function at a time, 90 % of what
// was left out lay inside. It is a coverage over kinds of function in a local
// emulation of the limit, and no promise for one; docs/prediction.md has it by
// size. AWS itself has not been measured.
//
// # What it refuses
//
// Too few invocations; a CPU clock that shows more time than the size can have
// given; a size that is nearly full, where garbage collection is part of what was
// measured; sizes that the memory in use does not fit; 128 MB where many
// threads share the quota, or without run delay, because the wait is then the
// small difference of two large numbers; and more than 3008 MB, where there are
// more than two CPUs.
package predict

import (
	"fmt"
	"math"
	"time"

	"github.com/thaw-lambda/thaw/internal/cpushare"
)

// Limits of what is claimed.
const (
	// FloorInvocations is how many warm invocations a prediction needs.
	FloorInvocations = 30
	// MaxMB is the largest size with two CPUs.
	MaxMB = 3008
	// maxImplausible is the share of requests that may break the self-check.
	maxImplausible = 0.02
	// maxUsedSource and maxUsedTarget are the shares of a size that may be in
	// use where it ran, and where it is predicted to.
	maxUsedSource = 0.85
	maxUsedTarget = 0.80
	// smallestMB is the size below which only single-threaded functions with a
	// run delay are predicted.
	smallestMB = 256
)

// Tier says what a prediction stands on.
type Tier string

// Tiers.
const (
	TierRunDelay Tier = "run-delay"
	TierCPUTime  Tier = "cpu-time"
)

// Source is what was measured at one memory size, of warm invocations.
// Durations are medians, in milliseconds.
type Source struct {
	MemoryMB int64
	// N is the number of invocations.
	N          int64
	DurationMS float64
	CPUMS      float64
	// FullSpeedMS is 0 where no run delay could be read.
	FullSpeedMS float64
	// Idle is the share of invocations after an idle gap of one period or more.
	Idle float64
	// Implausible is the share of invocations that break the self-check of the
	// CPU clock.
	Implausible float64
	// UsedMB is the most memory that was in use, 0 if that is not known.
	UsedMB float64
	// ManyThreads is whether the work moves between threads, as it does in Go,
	// Java and .NET.
	ManyThreads bool
}

// Point is the prediction for one memory size. What is refused has a reason
// and no figures.
type Point struct {
	MemoryMB                  int64
	DurationMS, LowMS, HighMS float64
	Refused                   string
}

// Curve is the prediction for several sizes.
type Curve struct {
	Tier Tier
	// Points are in the order that was asked for; the size that was measured
	// is not among them.
	Points []Point
	// Refused says why nothing is predicted at all. Have and Need are counts
	// where more of them would help.
	Refused    string
	Have, Need int64
	// CPUShare is how much of its duration at full speed the function computes,
	// from 0 to 1.
	CPUShare float64
}

// Predict predicts the durations at the given sizes.
func Predict(s Source, sizes []int64) Curve {
	m := newModel(s)
	c := Curve{Tier: m.tier, CPUShare: m.cpuShare()}
	if c.Refused = s.refusal(m.tier); c.Refused != "" {
		if s.N < FloorInvocations {
			c.Have, c.Need = s.N, FloorInvocations
		}
		return c
	}
	for _, size := range sizes {
		if size != s.MemoryMB {
			c.Points = append(c.Points, m.point(size))
		}
	}
	return c
}

// refusal says why nothing can be predicted from the source.
func (s Source) refusal(tier Tier) string {
	size := float64(s.MemoryMB)
	switch {
	case s.N < FloorInvocations:
		return fmt.Sprintf("not enough data: have %d warm invocations with a CPU time, need %d", s.N, FloorInvocations)
	case !(s.DurationMS > 0) || !(s.CPUMS > 0) || s.MemoryMB <= 0:
		return "the CPU time is not known"
	case s.MemoryMB > MaxMB:
		return fmt.Sprintf("above %d MB there are more than two CPUs, for which nothing has been shown", MaxMB)
	case s.Implausible > maxImplausible:
		return fmt.Sprintf("the CPU clock shows more time than %d MB can have given in %.0f %% of the invocations", s.MemoryMB, 100*s.Implausible)
	case s.UsedMB > maxUsedSource*size:
		return fmt.Sprintf("%.0f of %d MB are in use: the time to free memory is part of what was measured", s.UsedMB, s.MemoryMB)
	case s.MemoryMB < smallestMB && tier == TierCPUTime:
		return fmt.Sprintf("at %d MB, without the run delay, waiting and throttling cannot be told apart; run at %d MB or more for a day", s.MemoryMB, 2*smallestMB)
	case s.MemoryMB < smallestMB && s.ManyThreads:
		return fmt.Sprintf("at %d MB the work moves between threads and no single run delay shows it; run at %d MB or more for a day", s.MemoryMB, 2*smallestMB)
	}
	return ""
}

// model is a source with what follows from it. Times are in milliseconds.
type model struct {
	Source
	tier Tier
	p    float64 // CPUs used at once
	wait float64
	// Tier A only.
	computing, coarse, missed float64
}

func newModel(s Source) *model {
	m := &model{Source: s, tier: TierCPUTime}
	if s.FullSpeedMS > 0 {
		m.tier = TierRunDelay
		m.FullSpeedMS = max(s.FullSpeedMS, s.CPUMS/2)
		m.computing = min(s.CPUMS, m.FullSpeedMS)
		m.wait = m.FullSpeedMS - m.computing
		m.p = parallel(s.CPUMS / m.computing)
		m.coarse = m.fitCoarse()
		m.missed = s.DurationMS / m.delayed(s.MemoryMB)
		return m
	}
	m.p = min(max(s.CPUMS/s.DurationMS, 1), 2)
	m.wait = max(0, s.DurationMS-m.busy(s.MemoryMB, m.p))
	return m
}

// parallel is 1 for what noise can explain.
func parallel(ratio float64) float64 {
	if !(ratio >= 1.06) {
		return 1
	}
	return min(ratio, 2)
}

// fitCoarse finds how much of the throttling waits absorb.
func (m *model) fitCoarse() float64 {
	coarse, fine := m.delays(m.MemoryMB)
	if coarse-fine <= max(3, 0.1*m.FullSpeedMS) {
		return 0.75
	}
	return min(max((m.DurationMS-m.FullSpeedMS-fine)/(coarse-fine), 0), 1)
}

// delays are the two extremes of the run delay at a size.
func (m *model) delays(size int64) (coarse, fine float64) {
	x := m.supply(size, m.p)
	return max(0, x-m.computing), max(0, x-m.FullSpeedMS)
}

func (m *model) supply(size int64, p float64) float64 {
	x := cpushare.Supply(duration(m.CPUMS), cpushare.Share(float64(size)), p, m.Idle)
	return milliseconds(x)
}

// busy is how long the CPU time takes at a size.
func (m *model) busy(size int64, p float64) float64 {
	return max(m.CPUMS/p, m.supply(size, p))
}

// at is the predicted duration at a size.
func (m *model) at(size int64) float64 {
	if m.tier == TierRunDelay {
		return m.delayed(size) * math.Pow(m.missed, 1/(1+missedFading*m.distance(size)))
	}
	return m.wait + m.busy(size, m.p)
}

// missedFading is how fast what the model misses at the size that ran is taken
// to be another thing elsewhere.
const missedFading = 0.5

// delayed is the duration at full speed and the run delay at a size.
func (m *model) delayed(size int64) float64 {
	coarse, fine := m.delays(size)
	return m.FullSpeedMS + m.coarse*coarse + (1-m.coarse)*fine
}

// distance is that of a size from the one that ran, as the logarithm of the
// ratio of their shares. There is nothing above two CPUs.
func (m *model) distance(size int64) float64 {
	share := func(size int64) float64 { return min(cpushare.Share(float64(size)), 2) }
	return math.Abs(math.Log(share(size) / share(m.MemoryMB)))
}

func (m *model) cpuShare() float64 {
	if m.tier == TierRunDelay {
		return m.computing / m.FullSpeedMS
	}
	if computing := m.CPUMS / m.p; computing > 0 {
		return computing / (computing + m.wait)
	}
	return 0
}

func (m *model) point(size int64) Point {
	switch {
	case size > MaxMB:
		return Point{MemoryMB: size, Refused: fmt.Sprintf("above %d MB there are more than two CPUs, for which nothing has been shown", MaxMB)}
	case m.UsedMB > maxUsedTarget*float64(size):
		return Point{MemoryMB: size, Refused: fmt.Sprintf("%.0f MB are in use, more than %.0f %% of %d MB", m.UsedMB, 100*maxUsedTarget, size)}
	}
	at := m.at(size)
	z := m.width(size, at)
	p := Point{MemoryMB: size, DurationMS: at, LowMS: at * math.Exp(-z), HighMS: at * math.Exp(z)}
	if m.tier == TierCPUTime && m.MemoryMB < cpushare.MemoryPerCPU && size > cpushare.MemoryPerCPU {
		// Whether there is work for a second CPU cannot be seen with one.
		p.LowMS = min(p.LowMS, (m.wait+m.busy(size, 2))*math.Exp(-z))
	}
	return p
}

// The interval's constants, and Q of each tier.
const (
	widthBase, widthCPU, widthDistance = 0.02, 0.10, 0.12
	widthRunDelay, widthCPUTime        = 1.38, 1.54
	// The noise of runs is not less than this where the CPU matters at all.
	widthLeast, widthLeastFrom = 0.05, 0.1
)

// width is the logarithm of the interval's half width.
func (m *model) width(size int64, at float64) float64 {
	q := widthCPUTime
	if m.tier == TierRunDelay {
		q = widthRunDelay
	}
	governed := max(m.governed(m.MemoryMB, m.DurationMS), m.governed(size, at))
	z := q * (widthBase + governed*(widthCPU+widthDistance*m.distance(size)))
	if governed >= widthLeastFrom {
		z = max(z, widthLeast)
	}
	return z
}

// governed is how much of a duration the CPU decides.
func (m *model) governed(size int64, of float64) float64 {
	return min(1, max(m.CPUMS/2, m.supply(size, m.p))/of)
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
