package cloudwatchlog

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// Summary is what a log says, in numbers.
type Summary struct {
	Invocations int64 `json:"invocations"`
	// ColdStarts had to wait for an init or a restore.
	ColdStarts int64 `json:"cold_starts"`
	// Errors are those that the platform reports as error or failure. Timeouts
	// are not among them.
	Errors   int64 `json:"errors"`
	Timeouts int64 `json:"timeouts"`
	// Unparsed lines claim to be the platform's and cannot be read.
	Unparsed int64 `json:"unparsed"`

	Start *time.Time `json:"start"`
	End   *time.Time `json:"end"`

	Lines            int64 `json:"lines"`
	PlatformLines    int64 `json:"platform_lines"`
	ApplicationLines int64 `json:"application_lines"`
	DuplicateLines   int64 `json:"duplicate_lines"`
	// SpoolLines are those in which Thaw's extension wrote what no backend took,
	// SpoolSpans what was read back of them, and SpoolMissing what cannot be.
	SpoolLines   int64    `json:"spool_lines"`
	SpoolSpans   int64    `json:"spool_spans"`
	SpoolMissing []string `json:"spool_missing"`
	// Retries are attempts at a request that had been attempted before.
	Retries       int64 `json:"retries"`
	WithoutReport int64 `json:"without_report"`
	WithoutStart  int64 `json:"without_start"`
	// FailedInits are inits that ended in an error or in a timeout.
	FailedInits int64 `json:"failed_inits"`
	Dropped     int64 `json:"log_records_dropped"`
	// EnvironmentsInferred says that an input does not name the log streams;
	// TimesInvented that one has no times.
	EnvironmentsInferred bool `json:"environments_inferred"`
	TimesInvented        bool `json:"times_invented"`

	LogLatency *Latency    `json:"log_latency"`
	Functions  []*Function `json:"functions"`
	Broken     []Broken    `json:"broken"`
}

// Latency is how long log events took into CloudWatch; nil where no input says.
type Latency struct {
	Events int64   `json:"events"`
	MeanMS float64 `json:"mean_ms"`
	MaxMS  float64 `json:"max_ms"`
}

// Function sums up one function at one memory size.
type Function struct {
	Name            string   `json:"name"`
	Account         string   `json:"account"`
	Region          string   `json:"region"`
	MemoryMB        int64    `json:"memory_mb"`
	Versions        []string `json:"versions"`
	Invocations     int64    `json:"invocations"`
	ColdStarts      int64    `json:"cold_starts"`
	Errors          int64    `json:"errors"`
	Timeouts        int64    `json:"timeouts"`
	Environments    int64    `json:"environments"`
	DurationMS      Spread   `json:"duration_ms"`
	InitMS          Spread   `json:"init_ms"`
	BilledGBSeconds float64  `json:"billed_gb_seconds"`
	MaxMemoryMB     int64    `json:"max_memory_mb"`
}

// Spread describes a number of values; null where there are none.
type Spread struct {
	N    int64    `json:"n"`
	Mean *float64 `json:"mean"`
	P50  *float64 `json:"p50"`
	P95  *float64 `json:"p95"`
	Max  *float64 `json:"max"`
}

// Summary adds up.
func (l *Log) Summary() *Summary {
	t := &l.tally
	s := &Summary{
		Unparsed: t.unparsed, Lines: t.lines, PlatformLines: t.platform, ApplicationLines: t.application,
		DuplicateLines: t.duplicates, Dropped: t.dropped, EnvironmentsInferred: l.guessed, TimesInvented: l.undated,
		SpoolLines: t.spool, SpoolSpans: int64(len(l.spooled)), SpoolMissing: l.missing,
		Functions: []*Function{}, Broken: t.broken,
	}
	if s.SpoolMissing == nil {
		s.SpoolMissing = []string{}
	}
	if s.Broken == nil {
		s.Broken = []Broken{}
	}
	if !t.firstTime.IsZero() {
		s.Start, s.End = &t.firstTime, &t.lastTime
	}
	var arrival lifecycle.Latency
	sums := map[poolKey]*sum{}
	requests := map[string]bool{}
	for _, at := range l.attempts {
		arrival.Merge(at.logs.Arrival)
		key := poolKey{at.env.account, at.env.region, at.env.name, "", at.memoryMB()}
		if sums[key] == nil {
			sums[key] = newSum(key)
		}
		s.add(at, sums[key], requests[at.requestID])
		requests[at.requestID] = true
	}
	l.onlySpooled(func(env *lifecycle.Environment, inv *lifecycle.Invocation) {
		key := poolKey{env.AccountID, env.Region, env.Name, "", env.MemoryMB}
		if sums[key] == nil {
			sums[key] = newSum(key)
		}
		s.addSpooled(env, inv, sums[key])
	})
	for _, in := range l.inits {
		if in.failed() {
			s.FailedInits++
		}
	}
	if arrival.Count > 0 {
		s.LogLatency = &Latency{arrival.Count, ms(arrival.Sum) / float64(arrival.Count), ms(arrival.Max)}
	}
	for _, sum := range sums {
		s.Functions = append(s.Functions, sum.function())
	}
	slices.SortFunc(s.Functions, func(a, b *Function) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.MemoryMB, b.MemoryMB))
	})
	return s
}

func (s *Summary) add(at *attempt, sum *sum, again bool) {
	s.Invocations++
	if again {
		s.Retries++
	}
	if at.report == nil {
		s.WithoutReport++
	}
	if !at.started {
		s.WithoutStart++
	}
	start, in := at.startType()
	if start == lifecycle.Cold {
		s.ColdStarts++
	}
	switch at.status {
	case lifecycle.Error, lifecycle.Failure:
		s.Errors++
	case lifecycle.Timeout:
		s.Timeouts++
	}
	if at.init != nil && at.init.failed() {
		s.FailedInits++
	}
	sum.add(at, start, in)
}

func (s *Summary) addSpooled(env *lifecycle.Environment, inv *lifecycle.Invocation, sum *sum) {
	s.Invocations++
	sum.Invocations++
	sum.versions[env.Version] = true
	sum.ids[env.ID] = true
	if inv.StartType == lifecycle.Cold {
		s.ColdStarts++
		sum.ColdStarts++
	}
	switch inv.Status {
	case lifecycle.Error, lifecycle.Failure:
		s.Errors++
		sum.Errors++
	case lifecycle.Timeout:
		s.Timeouts++
		sum.Timeouts++
	}
	if r := inv.Report; r != nil && r.Received {
		sum.durations = append(sum.durations, ms(r.Duration))
		sum.BilledGBSeconds += r.Billed.Seconds() * float64(env.MemoryMB) / 1024
		sum.MaxMemoryMB = max(sum.MaxMemoryMB, r.MaxMemoryUsedMB)
	}
}

// sum is a Function in the making.
type sum struct {
	Function
	versions        map[string]bool
	ids             map[string]bool // of environments
	durations, init []float64
}

func newSum(k poolKey) *sum {
	return &sum{
		Function: Function{Name: k.name, Account: k.account, Region: k.region, MemoryMB: k.memoryMB},
		versions: map[string]bool{}, ids: map[string]bool{},
	}
}

func (s *sum) add(at *attempt, start lifecycle.Start, in *lifecycle.Init) {
	s.Invocations++
	s.versions[first(at.version, "$LATEST")] = true
	s.ids[at.env.id] = true
	if start == lifecycle.Cold {
		s.ColdStarts++
	}
	switch at.status {
	case lifecycle.Error, lifecycle.Failure:
		s.Errors++
	case lifecycle.Timeout:
		s.Timeouts++
	}
	if in != nil {
		s.init = append(s.init, ms(in.Duration))
	}
	if r := at.report; r != nil {
		s.durations = append(s.durations, ms(r.Duration))
		s.BilledGBSeconds += r.Billed.Seconds() * float64(r.MemoryMB) / 1024
		s.MaxMemoryMB = max(s.MaxMemoryMB, r.MaxMemoryMB)
	}
}

func (s *sum) function() *Function {
	s.Versions = slices.Sorted(maps.Keys(s.versions))
	s.Environments = int64(len(s.ids))
	s.DurationMS, s.InitMS = spread(s.durations), spread(s.init)
	return &s.Function
}

func spread(values []float64) Spread {
	out := Spread{N: int64(len(values))}
	if len(values) == 0 {
		return out
	}
	slices.Sort(values)
	var sum float64
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(len(values))
	at := func(q float64) *float64 { return &values[int(math.Ceil(q*float64(len(values))))-1] }
	out.Mean, out.P50, out.P95, out.Max = &mean, at(0.5), at(0.95), &values[len(values)-1]
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
