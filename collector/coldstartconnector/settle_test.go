package coldstartconnector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// script writes what happened to a function as a person would tell it. A line is
//
//	SECONDS ENVIRONMENT cold|warm|first DURATION_S [INIT_S]
//	SECONDS ENVIRONMENT again DURATION_S INIT_S      a suppressed init, then the run
//	SECONDS ENVIRONMENT ready INIT_S                 an init that nobody waited for
//	SECONDS ENVIRONMENT gone                         a shutdown
//
// ENVIRONMENT is name@version; without the latter it is 7. Each becomes traces.
func script(t testing.TB, text string) []ptrace.Traces {
	t.Helper()
	var out []ptrace.Traces
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		number := func(i int) time.Duration {
			var v float64
			if i < len(f) {
				if _, err := fmt.Sscan(f[i], &v); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
			return time.Duration(v * float64(time.Second))
		}
		at := noon.Add(number(0))
		id, version, _ := strings.Cut(f[1], "@")
		env := environment("thumbnail", id)
		if version != "" {
			env.Version = version
		}
		l := newLife(env, at)
		switch f[2] {
		case "ready":
			l.encoder.Init(l.spans, &lifecycle.Init{Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.Proactive,
				Start: at, Duration: number(3), Status: lifecycle.Success})
		case "gone":
			l.encoder.Shutdown(l.spans, &lifecycle.Shutdown{Start: at, Reason: "spindown", Invocations: 3, Lifetime: 90 * time.Second})
		default:
			inv := &lifecycle.Invocation{RequestID: line, Start: at, StartType: lifecycle.Start(f[2]), Status: lifecycle.Success,
				Run: &lifecycle.Run{Duration: number(3)}, Report: report(number(3)),
				ARN: "arn:aws:lambda:eu-west-1:123456789012:function:f:live"}
			if f[2] == "again" || f[2] == "cold" {
				inv.StartType = lifecycle.Cold
				// The request came at the time of the line.
				inv.Init = &lifecycle.Init{Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Start: at,
					Duration: number(4), Status: lifecycle.Success, RequestID: line}
				inv.Start = at.Add(number(4))
				if f[2] == "again" {
					inv.Init.Phase = lifecycle.PhaseInvoke
				}
			}
			l.encoder.Invocation(l.spans, inv)
		}
		out = append(out, l.cut())
	}
	return out
}

var settleLimits = func() limits {
	l := testLimits
	l.watermark = (15 * time.Minute).Microseconds()
	return l
}()

// settled applies traces, one a batch, and drains.
func settled(t testing.TB, tds []ptrace.Traces) *state {
	t.Helper()
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	last := noon
	for _, td := range tds {
		b := decodeTraces(t, last, td)
		if at := b.observations[0].Time; at.After(last) {
			last = at
		}
		b.at = last.Unix()
		s.apply(b)
	}
	s.apply(batch{at: last.Unix(), drain: true})
	return s
}

// sum adds up the values of a family by its first label.
func sumOf(s *state, fam family) map[string]float64 {
	out := map[string]float64{}
	for _, f := range s.functions {
		for _, x := range f.series {
			if x.key.family == fam && x.histogram == nil {
				out[x.key.values[0]] += x.value
			} else if x.key.family == fam {
				out[x.key.values[0]] += float64(x.histogram.count)
			}
		}
	}
	return out
}

func TestCauses(t *testing.T) {
	f := func(what, text, want string) {
		t.Helper()
		var got []string
		s := settled(t, script(t, text))
		by := sumOf(s, causes)
		total := 0.0
		for _, c := range lifecycle.Causes() {
			if n := by[string(c)]; n > 0 {
				got = append(got, fmt.Sprintf("%s %v", c, n))
				total += n
			}
		}
		if g := strings.Join(got, ", "); g != want {
			t.Errorf("%s: %s, want %s", what, g, want)
		}
		if n := sumOf(s, coldStarts)[""]; n != total {
			t.Errorf("%s: %v cold starts, %v causes", what, n, total)
		}
	}
	f("the first ever", `0 a cold 1 2`, "first 1")
	f("499 to 500", `
		0  a cold 10 1
		3  b cold 10 1
		4  c cold 10 1`, "first 1, scale-out 2")
	f("an environment became free while another was made", `
		0   a cold 1 1
		2.3 b cold 1 1`, "first 1, scale-out 1")
	f("0 to 1", `
		0    a cold 1 1
		500  a gone
		600  b cold 1 1`, "first 1, expired 1")
	f("0 to 1, and nobody told of the end", `
		0    a cold 1 1
		600  b cold 1 1`, "first 1, expired 1")
	f("a request did not get an environment that was there", `
		0    a cold 1 1
		600  b cold 1 1
		700  a warm 1`, "first 1, unknown 1")
	f("nor one that had just been used", `
		0    a cold 1 1
		5    b cold 1 1`, "first 1, unknown 1")
	f("some busy, the rest reclaimed", `
		0    a cold 900 1
		1    b cold 1 1
		600  b gone
		700  c cold 1 1`, "first 1, scale-out 2")
	f("a crash", `
		0    a cold 1 1
		10   a again 1 1`, "reset 1, first 1")
	f("a crash of an environment that had not been seen", `10 a again 1 1`, "reset 1")
	f("a deploy replaces what was warm", `
		0    a@7 cold 100 1
		1    b@7 cold 100 1
		200  c@8 cold 100 1
		201  d@8 cold 100 1
		202  e@8 cold 100 1`, "deploy 2, first 1, scale-out 2")
	f("a deploy, whose environment is reclaimed soon", `
		0    a@7 cold 100 1
		1    b@7 cold 100 1
		200  c@8 cold 1 1
		300  c@8 gone
		400  d@8 cold 1 1`, "deploy 1, first 1, scale-out 1, expired 1")
	f("a deploy of an idle function", `
		0     a@7 cold 1 1
		5000  b@8 cold 1 1
		5001  c@8 cold 1 1`, "deploy 1, first 1, scale-out 1")
	f("two versions side by side", `
		0    a@7 cold 1 1
		10   b@8 cold 1 1
		500  a@7 gone
		501  b@8 gone
		900  c@7 cold 1 1
		950  d@8 cold 1 1`, "deploy 1, first 1, expired 2")
	f("an environment that was made ready, and used", `
		0    a ready 1
		60   a first 1
		60.5 b cold 1 1`, "scale-out 1")
	f("an environment that was made ready in vain", `
		0    a ready 1
		5    b cold 1 1`, "unknown 1")
}

// Whatever the order of arrival within the watermark, the same is settled.
func TestOrderOfArrivalDoesNotMatter(t *testing.T) {
	var text strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		fmt.Fprintf(&text, "%.3f e%d cold %.3f 0.5\n", random.Float64()*600, i, random.Float64()*20)
		fmt.Fprintf(&text, "%.3f e%d warm %.3f\n", 630+random.Float64()*60, i, random.Float64()*20)
		fmt.Fprintf(&text, "%.3f e%d gone\n", 720+random.Float64()*60, i)
	}
	tds := script(t, text.String())
	want := everything(settled(t, tds))
	for range 5 {
		random.Shuffle(len(tds), func(i, j int) { tds[i], tds[j] = tds[j], tds[i] })
		diff(t, "in another order", everything(settled(t, tds)), want)
	}
}

// The state is written and read back in the middle: nothing changes.
func TestSettlingSurvivesRestart(t *testing.T) {
	var text strings.Builder
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		fmt.Fprintf(&text, "%d e%d cold %.3f 0.5\n", i*10, i%40+i/200*100, random.Float64()*40)
	}
	tds := script(t, text.String())
	run := func(restart bool) *state {
		s := newState(settleLimits, "the-instance", noon.UnixMilli())
		for i, td := range tds {
			at := noon.Add(time.Duration(i*10) * time.Second)
			s.apply(decodeTraces(t, at, td))
			if restart && i%7 == 0 {
				fresh := newState(settleLimits, "", 0)
				if err := decodeSnapshot(encodeRecord(s, codeState), fresh); err != nil {
					t.Fatal(err)
				}
				s = fresh
			}
		}
		s.apply(batch{at: noon.Unix() + 4000, drain: true})
		return s
	}
	diff(t, "over restarts", everything(run(true)), everything(run(false)))
}

// What arrives when the watermark has passed it is counted, and said to be late.
func TestLate(t *testing.T) {
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	tds := script(t, `
		0     a cold 1 1
		2000  b cold 1 1
		10    c cold 1 1
		20    a warm 1`)
	for i, at := range []int64{2, 2002, 2003, 2004} {
		s.apply(decodeTraces(t, noon.Add(time.Duration(at)*time.Second), tds[i]))
	}
	s.apply(batch{at: noon.Unix() + 2100, drain: true})
	if n := sumOf(s, late)[""]; n != 2 {
		t.Errorf("%v late, want 2", n)
	}
	if got := sumOf(s, causes); got[string(lifecycle.CauseUnknown)] != 1 || got[string(lifecycle.CauseFirst)] != 1 {
		t.Errorf("causes %v", got)
	}
	if n := sumOf(s, slotRank)[""]; n != 2 {
		t.Errorf("%v slot ranks, want 2", n)
	}
}

// Nothing is settled before the watermark has passed, and then without a new
// batch: a tick is enough.
func TestWatermark(t *testing.T) {
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	s.apply(decodeTraces(t, noon.Add(2*time.Second), script(t, `0 a cold 1 1`)[0]))
	check := func(at time.Duration, want float64) {
		t.Helper()
		s.apply(batch{at: noon.Add(at).Unix()})
		if n := sumOf(s, causes)[string(lifecycle.CauseFirst)]; n != want {
			t.Errorf("after %v: %v causes, want %v", at, n, want)
		}
	}
	check(14*time.Minute, 0)
	if s.settler.due(noon.Add(14*time.Minute).UnixMicro() - settleLimits.watermark) {
		t.Error("it is due too early")
	}
	check(15*time.Minute+time.Second, 1)
}

func TestEnvironmentsEnd(t *testing.T) {
	s := settled(t, script(t, `
		0    a cold 1 1
		100  a warm 1
		400  a gone`))
	idle := map[string]float64{}
	for _, x := range s.functions[0].series {
		if x.key.family == environmentIdle {
			idle[x.key.values[0]] = x.histogram.sum
		}
	}
	if idle[metric.IdleReused] != 98 || idle[metric.IdleReclaimed] != 299 {
		t.Errorf("idle times %v, want 98 s reused and 299 s reclaimed", idle)
	}
	if n := sumOf(s, environmentLifetime)[""]; n != 1 {
		t.Errorf("%v lifetimes", n)
	}
	if s.settler.environments != 0 {
		t.Errorf("%d environments are remembered", s.settler.environments)
	}
}

// erlangB is the share of arrivals that n servers at a load turn away.
func erlangB(n int, load float64) float64 {
	b := 1.0
	for k := 1; k <= n; k++ {
		b = load * b / (float64(k) + load*b)
	}
	return b
}

// The share of arrivals with a rank above n is what n provisioned environments
// would turn away: for Poisson arrivals Erlang's formula B says how many. The
// number of busy environments at arrival says something else.
func TestSlotRankIsErlangB(t *testing.T) {
	const load, arrivals = 50.0, 400_000
	random := rand.New(rand.NewPCG(5, 6))
	s, histogram := newSlots(), &histogram{}
	clock := 0.0
	for i := range arrivals {
		clock += random.ExpFloat64() / load
		service := random.ExpFloat64()
		rank := s.take(int64(clock*1e6), int64((clock+service)*1e6))
		if i > arrivals/20 { // it begins empty
			histogram.observe(float64(rank))
		}
	}
	if n := s.taken.len() + s.free.len(); n > 120 {
		t.Errorf("%d slots are remembered", n)
	}
	for _, n := range []int{30, 45, 58, 64} {
		// A bucket ends at a power of the base: use the exact bound of the one
		// that n is in.
		above := 0.0
		for k, index := range histogram.indexes {
			if math.Exp2(float64(index)/buckets) >= float64(n)-1e-9 {
				above += float64(histogram.counts[k])
			}
		}
		got, want := above/float64(histogram.count), erlangB(n, load)
		t.Logf("n = %d: %.4f of the arrivals, Erlang B %.4f", n, got, want)
		// Successive arrivals are alike over a service time or two.
		sd := math.Sqrt(want * (1 - want) * 2 * load / arrivals)
		if n <= 45 && math.Abs(got-want) > 4*sd {
			t.Errorf("n = %d: %.4f of the arrivals rank above it, Erlang B says %.4f ± %.4f", n, got, want, 4*sd)
		}
	}
}

// Through the whole connector: what arrives as spans ends up in the same shares.
func TestSlotRankOfSpansIsErlangB(t *testing.T) {
	const load, arrivals = 8.0, 20_000
	random := rand.New(rand.NewPCG(7, 8))
	st := newState(limits{spanHours: 24, spans: 1e6, functions: 10, clusters: 1e6, expiryHours: 720, watermark: 1e6}, "the-instance", 0)
	env := environment("thumbnail", "e")
	clock := noon
	for i := range arrivals {
		clock = clock.Add(time.Duration(random.ExpFloat64() / load * 1e9))
		d := time.Duration(random.ExpFloat64() * 1e9)
		o := lifecycle.Observation{Environment: env, Type: lifecycle.SpanInvocation, Began: clock, Time: clock.Add(d),
			Invocation: &lifecycle.Invocation{RequestID: "r", Start: clock, StartType: lifecycle.Warm, Status: lifecycle.Success, Report: report(d)}}
		for b := range o.SpanID {
			o.SpanID[b] = byte(i >> (8 * b))
		}
		st.apply(batch{at: clock.Unix(), observations: []lifecycle.Observation{o}})
	}
	st.apply(batch{at: clock.Unix(), drain: true})
	var h *histogram
	for _, x := range st.functions[0].series {
		if x.key.family == slotRank {
			h = x.histogram
		}
	}
	if h.count != arrivals {
		t.Fatalf("%d ranks", h.count)
	}
	for _, n := range []int{4, 8, 12} {
		above := 0.0
		for k, index := range h.indexes {
			if math.Exp2(float64(index)/buckets) >= float64(n)-1e-9 {
				above += float64(h.counts[k])
			}
		}
		got, want := above/arrivals, erlangB(n, load)
		if sd := math.Sqrt(want * (1 - want) * 2 * load / arrivals); math.Abs(got-want) > 4*sd {
			t.Errorf("n = %d: %.4f of the arrivals rank above it, Erlang B says %.4f ± %.4f", n, got, want, 4*sd)
		}
	}
}

// Whatever a stranger sends, what is remembered is bounded.
func TestSettlingIsBounded(t *testing.T) {
	s := newSettler()
	f := newFunction(functionKey{name: "f"})
	for i := range int64(3 * maxEnvironments) {
		s.note(moment{function: f, environment: fmt.Sprint(i), kind: invoked, at: i * 1000, until: i*1000 + 1}, i/1000)
		if i%1000 == 0 {
			s.settle(i*1000-1e6, maxPending)
			s.sweep(i/1000/3600, 720, maxEnvironments)
		}
	}
	if s.environments > maxEnvironments+1000 {
		t.Errorf("%d environments are remembered, at most %d", s.environments, maxEnvironments)
	}
	s.settle(0, 100)
	if s.pending.len() > 100 {
		t.Errorf("%d are pending", s.pending.len())
	}
}

// maxSeries is what one function in one version and size may cost the store.
const maxSeries = 42

func TestSeriesOfAnOrdinaryFunction(t *testing.T) {
	tds := script(t, `
		0     a cold 10 1
		5     b cold 10 1
		100   a warm 1
		500   a gone
		501   b gone
		900   c cold 1 1`)
	l := newLife(environment("thumbnail", "d"), noon.Add(5000*time.Second))
	l.cold(time.Second, time.Second)
	logs := l.next(time.Second)
	logs.Report = report(time.Second)
	logs.Report.Logs = lifecycle.LogSummary{Lines: 4, Bytes: 400, Frozen: 1}
	logs.Report.Logs.Arrival.ObserveN(40*time.Millisecond, 3)
	logs.Report.Logs.Export.Observe(300 * time.Millisecond)
	l.encoder.Invocation(l.spans, logs)
	s := settled(t, append(tds, l.cut()))
	if n := len(s.functions[0].series); n > maxSeries {
		t.Errorf("%d series of an ordinary function, at most %d:\n%s", n, maxSeries, everything(s))
	} else {
		t.Logf("%d series", n)
	}
}

// A function to which everything happens, in every way that a stranger could
// make up, has a bounded number of series too.
func TestSeriesOfAHostileFunction(t *testing.T) {
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	env := environment("thumbnail", "e")
	random := rand.New(rand.NewPCG(9, 10))
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	for i := range 20_000 {
		o := lifecycle.Observation{Environment: env, Began: noon, Time: noon}
		for b := range o.SpanID {
			o.SpanID[b] = byte(i >> (8 * b))
		}
		switch i % 3 {
		case 0:
			r := report(time.Second)
			r.Received = i%2 == 0
			r.Logs = lifecycle.LogSummary{Lines: 2, Frozen: 1}
			r.DroppedByPlatform = 1
			o.Type, o.Invocation = lifecycle.SpanInvocation, &lifecycle.Invocation{
				RequestID: "r", Start: noon, StartType: lifecycle.Start(pick("cold", "first", "warm")), ErrorType: fmt.Sprint(i),
				Status: lifecycle.Status(pick("success", "error", "failure", "timeout")), Report: r, ARN: fmt.Sprint("a:b:c:d:e:f:g:", i),
			}
		case 1:
			o.Init = &lifecycle.Init{Phase: lifecycle.InitPhase(fmt.Sprint(pick("init", "invoke", "x", fmt.Sprint(i)))), Demand: lifecycle.Demand(pick("on-path", "uncertain", "proactive", "unused", fmt.Sprint(i))),
				Status: lifecycle.Status(pick("success", "error", "failure", "timeout")), Duration: time.Second, Self: lifecycle.SelfCost{Ready: 1},
				Parts: []lifecycle.Part{{Name: lifecycle.PartFunction, Duration: time.Second, Basis: lifecycle.Basis(pick("measured", "derived", "x"))}}}
		case 2:
			o.Shutdown = &lifecycle.Shutdown{Reason: pick("spindown", "timeout", "failure", fmt.Sprint(i))}
		}
		s.apply(batch{at: noon.Unix() + int64(i), observations: []lifecycle.Observation{o}})
	}
	s.apply(batch{at: noon.Unix() + 30_000, drain: true})
	const hostile = 2 * maxSeries
	if n := len(s.functions[0].series); n > hostile {
		var names []string
		for _, x := range s.functions[0].series {
			names = append(names, families[x.key.family].Name+" "+strings.Join(x.key.values[:], " "))
		}
		slices.Sort(names)
		t.Errorf("%d series, at most %d:\n%s", n, hostile, strings.Join(names, "\n"))
	}
}
