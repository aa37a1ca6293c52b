package reliability

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/internal/spool"
)

var (
	update = flag.Bool("update", false, "write docs/reliability.md")
	only   = flag.String("only", "", "run the cells whose names contain this, such as crash-503-next, and leave the document alone")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scenario is what a function does in its life.
type scenario struct {
	name, about string
	timeout     time.Duration
	steps       []step
	// resets is how often the environment is reset.
	resets int
}

// step is an invocation and what comes before it.
type step struct {
	idle  time.Duration
	event string
	fails bool
}

func repeat(n int, s step) []step { return slices.Repeat([]step{s}, n) }

var scenarios = []scenario{
	{name: "busy", about: "30 invocations of 5 ms, one after the other", steps: repeat(30, step{event: `{"sleepMs":5}`})},
	{name: "sparse", about: "3 invocations of 3.5 s, 5.2 s between them", timeout: 10 * time.Second,
		steps: append(repeat(1, step{event: `{"sleepMs":3500}`}), repeat(2, step{idle: 5200 * time.Millisecond, event: `{"sleepMs":3500}`})...)},
	{name: "single", about: "one invocation of 50 ms", steps: repeat(1, step{event: `{"sleepMs":50}`})},
	{name: "crash", about: "2 invocations, one in which the runtime exits, and 2 more", resets: 1,
		steps: []step{{event: `{"sleepMs":5}`}, {event: `{"sleepMs":5}`}, {event: `{"sleepMs":5,"do":"exit"}`, fails: true}, {event: `{"sleepMs":5}`}, {event: `{"sleepMs":5}`}}},
	{name: "timeout", about: "2 invocations, one that hangs until its timeout of 1 s, and 2 more", timeout: time.Second, resets: 1,
		steps: []step{{event: `{"sleepMs":5}`}, {event: `{"sleepMs":5}`}, {event: `{"do":"hang"}`, fails: true}, {event: `{"sleepMs":5}`}, {event: `{"sleepMs":5}`}}},
}

var policies = []string{"next", "end", "interval", "adaptive"}

// cell is one function with one backend.
type cell struct {
	scenario *scenario
	fault    *fault // nil for a bare function
	policy   string
	backend  *backend
	function emulator.Function

	failed time.Duration // the time from the request to the answer of the one that fails
	result result
}

func (c *cell) name() string { return c.function.Name }

// result is what a cell's run shows.
type result struct {
	invocations int
	overhead    []float64 // ms that extensions added after the response
	delivered   map[lifecycle.Identity]bool
	spooled     map[lifecycle.Identity]bool
	spans       int // that the backend has
	duplicates  int // spans that it has more than once
	inLog       int // spans that are in the log alone
	held        int64
	added       time.Duration
	dropped     int64
	maxRSS      int64
	billed      time.Duration
}

// parallel is how many functions run at a time: they mostly sleep.
const parallel = 12

// TestMatrix runs every cell. What a bare function does in the same run is what
// added time is held against.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("220 environments: about two minutes")
	}
	dir := build(t)
	log := new(logBuffer)
	lambda := &emulator.Emulator{Log: log, Patience: time.Minute}
	if err := lambda.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lambda.Close(); err != nil {
			t.Errorf("close the local Lambda: %v", err)
		}
	})
	cells := deploy(t, lambda, dir)
	runAll(t, lambda, cells)
	if err := lambda.Close(); err != nil {
		t.Fatal(err)
	}
	collect(t, lambda, cells, log.String())
	failed := map[string][]float64{} // of bare functions
	for _, c := range cells {
		if c.fault == nil {
			failed[c.scenario.name] = append(failed[c.scenario.name], ms(c.failed))
		}
	}
	for _, c := range cells {
		if c.fault != nil {
			t.Run(c.name(), c.check)
		}
	}
	checkResets(t, cells)
	if *only == "" {
		document(t, cells, failed)
	}
}

// build builds the function, and the extension as a layer.
func build(t *testing.T) string {
	t.Helper()
	// Functions run as another user, who has to be able to get there.
	dir, err := os.MkdirTemp("", "thaw-reliability-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for out, pkg := range map[string]string{"function/bootstrap": "./testdata/function", "layer/extensions/thaw": "../../../cmd/thaw-extension"} {
		cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, text)
		}
	}
	return dir
}

func deploy(t *testing.T, lambda *emulator.Emulator, dir string) (cells []*cell) {
	t.Helper()
	add := func(s *scenario, f *fault, policy string, n int) {
		c := &cell{scenario: s, fault: f, policy: policy, backend: &backend{t: t}}
		c.function = emulator.Function{
			Name: fmt.Sprintf("%s-bare-%d", s.name, n), Dir: filepath.Join(dir, "function"), Handler: "h", MemoryMB: 1769, Timeout: s.timeout,
		}
		if f != nil {
			c.function.Name = strings.NewReplacer(" ", "-").Replace(fmt.Sprintf("%s-%s-%s", s.name, f.name, policy))
			c.function.Layers = []string{filepath.Join(dir, "layer")}
			c.function.Env = map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": f.start(t, c.backend), "THAW_FLUSH": policy, "THAW_FLUSH_INTERVAL": "1s", "THAW_BATCH_DELAY": "100ms",
			}
		}
		if f != nil && !strings.Contains(c.name(), *only) {
			return
		}
		if err := lambda.AddFunction(c.function); err != nil {
			t.Fatal(err)
		}
		cells = append(cells, c)
	}
	for i := range scenarios {
		for n := range 3 {
			add(&scenarios[i], nil, "", n)
		}
		for j := range faults {
			for _, policy := range policies {
				add(&scenarios[i], &faults[j], policy, 0)
			}
		}
	}
	return cells
}

// runAll runs the cells, those that idle most of the time beside the others.
func runAll(t *testing.T, lambda *emulator.Emulator, cells []*cell) {
	t.Helper()
	var all sync.WaitGroup
	slots := map[bool]chan struct{}{true: make(chan struct{}, 2*parallel), false: make(chan struct{}, parallel)}
	for _, c := range cells {
		slot := slots[c.scenario.name == "sparse"]
		all.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			if err := c.run(t.Context(), lambda); err != nil {
				t.Errorf("%s: %v", c.name(), err)
			}
		})
	}
	all.Wait()
}

func (c *cell) run(ctx context.Context, lambda *emulator.Emulator) error {
	for _, s := range c.scenario.steps {
		time.Sleep(s.idle)
		began := time.Now()
		res, err := lambda.Invoke(ctx, c.name(), "", []byte(s.event))
		if err != nil {
			return err
		}
		if s.fails {
			c.failed = time.Since(began)
		}
		if failed := res.FunctionError != ""; failed != s.fails {
			return fmt.Errorf("event %s: function error %q, payload %s", s.event, res.FunctionError, res.Payload)
		}
		if c.fault != nil && c.fault.between != nil {
			c.fault.between(c.backend)
		}
	}
	return lambda.Recycle(ctx, c.name(), "")
}

// collect sorts the ledger, what the backends have, and the log by cell.
func collect(t *testing.T, lambda *emulator.Emulator, cells []*cell, log string) {
	t.Helper()
	byName := map[string]*cell{}
	for _, c := range cells {
		byName[c.name()] = c
		c.result.delivered, c.result.spooled = map[lifecycle.Identity]bool{}, map[lifecycle.Identity]bool{}
	}
	for _, e := range lambda.Ledger().Entries() {
		if c := byName[e.Function]; c != nil && e.Kind == emulator.KindInvocationEnd {
			c.result.invocations++
			c.result.overhead = append(c.result.overhead, e.OverheadMs)
			c.result.billed += time.Duration(e.BilledMs) * time.Millisecond
		}
	}
	logged := map[string][]ptrace.Traces{}
	var d spool.Decoder
	err := d.Decode(strings.NewReader(log), func(r spool.Record) error {
		traces, err := unmarshal(r.Payload)
		if err != nil {
			return err
		}
		name, _ := traces.ResourceSpans().At(0).Resource().Attributes().Get(lifecycle.AttrFaasName)
		logged[name.Str()] = append(logged[name.Str()], traces)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Report(); r.Missing != nil || r.Damaged != 0 || r.Corrupt != 0 || r.Open != 0 {
		t.Errorf("the log: %+v", r)
	}
	for name, c := range byName {
		c.backend.mu.Lock()
		c.result.read(t, c.backend.traces, logged[name])
		c.backend.mu.Unlock()
	}
}

// read decodes what a backend has, and what is in the log.
func (r *result) read(t *testing.T, delivered, logged []ptrace.Traces) {
	seen := map[string]int{}
	each := func(traces ptrace.Traces, into map[lifecycle.Identity]bool) {
		for _, rs := range traces.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, span := range ss.Spans().All() {
					seen[span.TraceID().String()+span.SpanID().String()]++
				}
			}
			lifecycle.Decode(rs, func(o lifecycle.Observation) {
				switch o.Type {
				case lifecycle.SpanInvocation:
					into[o.Invocation.Identity(o.Environment.ID)] = true
				case lifecycle.SpanShutdown:
					r.held += o.Shutdown.Self.Held
					r.added += o.Shutdown.Self.Added
					r.dropped += o.Shutdown.Account.SpansDropped
					r.maxRSS = max(r.maxRSS, o.Shutdown.MaxRSS)
				}
			}, func(err error) { t.Error(err) })
		}
	}
	for _, traces := range delivered {
		each(traces, r.delivered)
	}
	r.spans = len(seen)
	for _, n := range seen {
		r.duplicates += n - 1
	}
	for _, traces := range logged {
		each(traces, r.spooled)
	}
	r.inLog = len(seen) - r.spans
}

// check holds one cell against what is promised.
func (c *cell) check(t *testing.T) {
	r := c.result
	known := map[lifecycle.Identity]bool{}
	for _, m := range []map[lifecycle.Identity]bool{r.delivered, r.spooled} {
		for id := range m {
			known[id] = true
		}
	}
	// What a partial success left out is gone by the backend's own word, and is
	// counted, but for what the account itself was sent with.
	if lives := 1 + c.scenario.resets; c.backend.rejected > 0 {
		if got, want := r.dropped, int64(c.backend.rejected-lives); got < want || got > int64(c.backend.rejected) {
			t.Errorf("%d spans were rejected, %d are counted as dropped", c.backend.rejected, got)
		}
	} else if r.dropped != 0 {
		t.Errorf("%d spans were lost", r.dropped)
	}
	if len(known) != r.invocations || r.invocations != len(c.scenario.steps) {
		t.Errorf("%d of %d invocations are delivered or in the log", len(known), r.invocations)
	}
	switch {
	case c.fault.dead && len(r.delivered) != 0:
		t.Errorf("a dead backend has %d invocations", len(r.delivered))
	case c.fault.name == "healthy" && (r.inLog != 0 || r.duplicates != 0):
		t.Errorf("%d spans in the log, %d duplicates", r.inLog, r.duplicates)
	}
	c.checkTime(t)
	if r.maxRSS == 0 || r.maxRSS > 20<<20 {
		t.Errorf("the extension used %d bytes of memory", r.maxRSS)
	}
}

// noise is what an invocation may take longer on a machine that does other
// things too, in ms.
const noise = 60

func (c *cell) checkTime(t *testing.T) {
	r := c.result
	lives := int64(1 + c.scenario.resets)
	switch {
	case c.policy == "next" && r.held != 0:
		t.Errorf("next waited %d times", r.held)
	case c.fault.dead && r.held > lives:
		t.Errorf("a dead backend was waited for %d times in %d lives", r.held, lives)
	case c.policy == "adaptive" && ms(r.added) > 0.01*ms(r.billed)+noise/2:
		t.Errorf("adaptive added %v to %v billed", r.added, r.billed)
	case c.policy == "end" && c.fault.name == "healthy" && r.held == 0:
		t.Error("end never waited")
	}
	// A machine that does other things may hold up one invocation or another.
	beyond := 0
	for _, overhead := range r.overhead {
		if overhead > 100+noise {
			beyond++
		}
	}
	if beyond > max(1, len(r.overhead)/10) {
		t.Errorf("%d of %d invocations were prolonged by more than the budget: %.1f", beyond, len(r.overhead), r.overhead)
	}
	if (c.policy == "next" || c.fault.dead) && median(r.overhead) > noise/4 && len(r.overhead) > 3 {
		t.Errorf("half of the invocations were prolonged by %.1f ms", median(r.overhead))
	}
}

// checkResets: where an environment is reset its caller waits for the shutdown,
// of which the extension takes little, whatever the backend does: half of the
// cells with a dead backend are answered within the extension's share of a
// shutdown, beyond what those with a healthy one need on the same machine.
func checkResets(t *testing.T, cells []*cell) {
	t.Helper()
	healthy, dead := map[string][]float64{}, map[string][]float64{}
	for _, c := range cells {
		switch {
		case c.fault == nil || c.failed == 0:
		case c.fault.dead:
			dead[c.scenario.name] = append(dead[c.scenario.name], ms(c.failed))
		case c.fault.name == "healthy":
			healthy[c.scenario.name] = append(healthy[c.scenario.name], ms(c.failed))
		}
	}
	for name, took := range dead {
		if got, peer := median(took), median(healthy[name]); got > 2*peer+350+100 {
			t.Errorf("%s: an invocation that failed is answered after %.0f ms with a dead backend, after %.0f ms with a healthy one", name, got, peer)
		}
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// logBuffer is the log of all functions.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
