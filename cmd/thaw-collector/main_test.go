package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// The test binary is the program when this is set: what is tested is the real
// process, which can be killed.
const envMain = "THAW_COLLECTOR_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is a running collector.
type process struct {
	t         testing.TB
	cmd       *exec.Cmd
	otlp, api string
	exited    chan error
	log       *log
}

// log is what the process wrote, while it writes.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.WriteString(line + "\n")
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs a collector over dir on free ports and waits until it is ready.
func start(t testing.TB, dir string, env ...string) *process {
	t.Helper()
	p := launch(t, dir, env...)
	select {
	case <-p.ready():
	case err := <-p.exited:
		t.Fatalf("the collector did not start: %v\n%s", err, p.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("the collector is not ready after 30 s\n%s", p.log)
	}
	return p
}

func launch(t testing.TB, dir string, env ...string) *process {
	t.Helper()
	p := &process{t: t, otlp: freeAddr(t), api: freeAddr(t), exited: make(chan error, 1), log: &log{}}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), append([]string{
		envMain + "=1",
		"THAW_DATA_DIR=" + dir,
		"THAW_OTLP_HTTP_ENDPOINT=" + p.otlp,
		"THAW_OTLP_GRPC_ENDPOINT=" + freeAddr(t),
		"THAW_HTTP_ENDPOINT=" + p.api,
		"THAW_FORWARD_ENDPOINT=",
	}, env...)...)
	return p
}

// ready starts the process; the channel is closed at its ready line.
func (p *process) ready() <-chan struct{} {
	p.t.Helper()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
	})
	ready := make(chan struct{})
	go func() {
		lines, closed := bufio.NewScanner(stderr), false
		for lines.Scan() {
			p.log.add(lines.Text())
			if !closed && strings.HasPrefix(lines.Text(), "thaw-collector ready: ") {
				close(ready)
				closed = true
			}
		}
		p.exited <- p.cmd.Wait()
		close(p.exited)
	}()
	return ready
}

// end sends a signal and waits.
func (p *process) end(sig syscall.Signal) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(30 * time.Second):
		p.t.Fatalf("the collector did not end after %v\n%s", sig, p.log)
		return nil
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *process) post(body []byte) int {
	p.t.Helper()
	resp, err := http.Post("http://"+p.otlp+"/v1/traces", "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (p *process) send(td ptrace.Traces) {
	p.t.Helper()
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		p.t.Fatal(err)
	}
	if code := p.post(body); code != http.StatusOK {
		p.t.Fatalf("OTLP: status %d\n%s", code, p.log)
	}
}

func (p *process) flush() {
	p.t.Helper()
	resp, err := http.Post("http://"+p.api+"/-/flush", "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		p.t.Fatalf("flush: %s: %s", resp.Status, body)
	}
}

// query returns the values of an instant vector, summed: -1 if it is empty.
func (p *process) query(promql string, at time.Time) float64 {
	p.t.Helper()
	form := url.Values{"query": {promql}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	p.get("/api/v1/query?"+form.Encode(), &answer)
	if answer.Status != "success" {
		p.t.Fatalf("%s: %s", promql, answer.Error)
	}
	if len(answer.Data.Result) == 0 {
		return -1
	}
	sum := 0.0
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (p *process) get(path string, into any) int {
	p.t.Helper()
	resp, err := http.Get("http://" + p.api + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			p.t.Fatalf("%s: %s: %v", path, body, err)
		}
	}
	return resp.StatusCode
}

func (p *process) want(promql string, want float64) {
	p.t.Helper()
	if got := p.query(promql, time.Now()); got != want {
		p.t.Errorf("%s = %v, want %v", promql, got, want)
	}
}

// world makes traces of one environment.
type world struct {
	encoder lifecycle.Encoder
	now     time.Time
	n       int
	pending []byte
}

func newWorld(name string) *world {
	return &world{
		encoder: lifecycle.Encoder{ScopeVersion: "test", Environment: &lifecycle.Environment{
			Function: lifecycle.Function{AccountID: "123456789012", Region: "eu-west-1", Name: name},
			Version:  "$LATEST", Kind: lifecycle.OnDemand, ID: "2026/01/01/[$LATEST]" + name, MemoryMB: 512, Arch: "arm64",
			RuntimeVersion: "nodejs:22.v1", ServiceName: name,
		}},
		now: time.Now().Add(-time.Minute),
	}
}

// invocation makes one: the first is cold.
func (w *world) invocation(duration time.Duration) ptrace.Traces {
	w.n++
	w.now = w.now.Add(time.Second)
	inv := &lifecycle.Invocation{
		RequestID: fmt.Sprintf("request-%d", w.n), Start: w.now, StartType: lifecycle.Warm, Status: lifecycle.Success,
		ARN: "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
		Run: &lifecycle.Run{Duration: duration},
		Report: &lifecycle.Report{Received: true, Duration: duration, Billed: duration, MaxMemoryUsedMB: 100, ExtensionOverhead: time.Millisecond,
			Logs: lifecycle.LogSummary{Lines: 3}},
	}
	if w.n == 1 {
		inv.StartType = lifecycle.Cold
		start := w.now.Add(-500 * time.Millisecond)
		inv.Init = &lifecycle.Init{Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Start: start, Duration: 500 * time.Millisecond,
			Status: lifecycle.Success, Self: lifecycle.SelfCost{Ready: 5 * time.Millisecond, CPU: 4 * time.Millisecond},
			Parts: lifecycle.FillParts(start, 500*time.Millisecond, []lifecycle.Part{
				{Name: lifecycle.PartExtensions, Duration: 10 * time.Millisecond, Basis: lifecycle.Derived},
				{Name: lifecycle.PartRuntimeFunction, Duration: 480 * time.Millisecond, Basis: lifecycle.Derived},
			})}
	}
	td := ptrace.NewTraces()
	w.encoder.Invocation(w.encoder.Scope(td), inv)
	return td
}

// What was acknowledged is counted once: over kill -9, restarts and senders
// that repeat themselves.
func TestExactlyOnceOverKill(t *testing.T) {
	dir := t.TempDir()
	w := newWorld("thumbnail")
	p := start(t, dir)
	var last ptrace.Traces
	send := func(n int) {
		for range n {
			last = w.invocation(100 * time.Millisecond)
			p.send(last)
		}
	}
	send(20)
	p.flush()
	p.want("faas_invocations_total", 20)
	before := time.Now()

	send(5) // not flushed
	p.end(syscall.SIGKILL)
	p = start(t, dir)
	p.send(last) // the sender saw no answer
	p.flush()
	p.want("sum(faas_invocations_total)", 25)
	p.want("faas_coldstarts_total", 1)
	p.want("thaw_collector_duplicates_total", 1)

	send(5)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, p.log)
	}
	p = start(t, dir)
	p.send(last)
	p.flush()
	p.want("sum(faas_invocations_total)", 30)
	p.want("sum(histogram_count(faas_invoke_duration_seconds))", 30)
	p.want("thaw_collector_duplicates_total", 2)
	if got := p.query("count(count by (service_instance_id) (faas_invocations_total))", time.Now()); got != 1 {
		t.Errorf("%v instances, want 1: it is the same collector all along", got)
	}

	// A total over a range: the last value less the first, or zero.
	at := func(tm time.Time) string { return fmt.Sprintf("@ %.3f", float64(tm.UnixMilli())/1000) }
	end, beginning := at(time.Now()), at(time.Now().Add(-time.Hour))
	total := func(m, from, to string) string {
		return fmt.Sprintf("sum((%s %s - %s %s) or %s %s)", m, to, m, from, m, to)
	}
	p.want(total("faas_invocations_total", at(before), end), 10)
	p.want(total("faas_invocations_total", beginning, end), 30)
	h := "faas_invoke_duration_seconds"
	hist := func(from, to string) string {
		return fmt.Sprintf("sum((%s %s - %s %s) or %s %s)", h, to, h, from, h, to)
	}
	p.want("histogram_count("+hist(at(before), end)+")", 10)
	p.want("histogram_count("+hist(beginning, end)+")", 30)
	if got := p.query("histogram_sum("+hist(at(before), end)+")", time.Now()); got < 0.999 || got > 1.001 {
		t.Errorf("sum of ten durations of 0.1 s = %v", got)
	}
	if got := p.query("histogram_quantile(0.5, "+hist(beginning, end)+")", time.Now()); got < 0.1/1.022 || got > 0.1*1.022 {
		t.Errorf("median of durations of 0.1 s = %v", got)
	}
}

// A sender that repeats what was not acknowledged, and a collector that is
// killed whenever it pleases: at the end every invocation is counted once.
func TestKillAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	var p *process
	worlds := make([]*world, 4)
	for i := range worlds {
		worlds[i] = newWorld(fmt.Sprint("f", i))
	}
	sent := 0
	for round := range 4 {
		p = start(t, dir, "THAW_LOG_LEVEL=warn")
		var wg sync.WaitGroup
		counts := make([]int, len(worlds))
		for i, w := range worlds {
			wg.Go(func() {
				for w.unacknowledged(p) {
					counts[i]++
				}
			})
		}
		time.Sleep(time.Duration(100+97*round) * time.Millisecond)
		p.end(syscall.SIGKILL)
		wg.Wait()
		for _, n := range counts {
			sent += n
		}
	}
	p = start(t, dir)
	for _, w := range worlds {
		if !w.unacknowledged(p) {
			t.Error("the last one is not acknowledged")
		}
		sent++
	}
	p.flush()
	p.want("sum(faas_invocations_total)", float64(sent))
	p.want("sum(histogram_count(thaw_billed_duration_seconds))", float64(sent))
	p.want("sum(faas_coldstarts_total)", float64(len(worlds)))
	t.Logf("%d invocations, %v recognised as duplicates", sent, p.query("thaw_collector_duplicates_total", time.Now()))
}

// unacknowledged sends the next invocation, or the last again if it was not
// acknowledged, and reports whether it is now.
func (w *world) unacknowledged(p *process) bool {
	if w.pending == nil {
		body, err := ptraceotlp.NewExportRequestFromTraces(w.invocation(10 * time.Millisecond)).MarshalProto()
		if err != nil {
			return false
		}
		w.pending = body
	}
	resp, err := http.Post("http://"+p.otlp+"/v1/traces", "application/x-protobuf", bytes.NewReader(w.pending))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	w.pending = nil
	return true
}

func TestMalformed(t *testing.T) {
	p := start(t, t.TempDir())
	if code := p.post([]byte("this is not OTLP")); code != http.StatusBadRequest {
		t.Errorf("malformed: status %d, want 400", code)
	}
	td := newWorld("f").invocation(time.Second)
	spans := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	bad := spans.AppendEmpty()
	bad.SetSpanID([8]byte{1})
	bad.Attributes().PutStr(lifecycle.AttrSpanType, string(lifecycle.SpanInvocation))
	p.send(td)
	p.flush()
	p.want("faas_invocations_total", 1)
	p.want("thaw_collector_rejected_total", 1)
}

func TestAPI(t *testing.T) {
	p := start(t, t.TempDir())
	p.send(newWorld("f").invocation(time.Second))
	p.flush()
	var metadata struct {
		Data map[string][]struct{ Type, Help, Unit string }
	}
	p.get("/api/v1/metadata", &metadata)
	if got := metadata.Data["faas_invoke_duration_seconds"]; len(got) != 1 || got[0].Type != "histogram" || got[0].Help == "" {
		t.Errorf("metadata of faas_invoke_duration_seconds: %+v", got)
	}
	var names struct{ Data []string }
	p.get("/api/v1/label/faas_name/values", &names)
	if len(names.Data) != 1 || names.Data[0] != "f" {
		t.Errorf("label values: %v", names.Data)
	}
	for path, want := range map[string]int{
		"/api/v1/status/buildinfo":                      200,
		"/api/v1/labels":                                200,
		"/api/v1/series?match[]=faas_invocations_total": 200,
		"/api/v1/query_range?query=faas_invocations_total&start=0&end=1&step=1": 200,
		"/api/v1/format_query?query=a%2Bb":                                      200,
		"/api/v1/rules":                                                         200,
		"/api/v1/query?query=%7B":                                               400,
		"/api/v1/targets":                                                       404,
		"/api/v1/admin/tsdb/snapshot":                                           404,
		"/api/v1/write":                                                         404,
		"/-/ready":                                                              200,
		"/-/healthy":                                                            200,
		"/":                                                                     200,
		"/nowhere":                                                              404,
	} {
		if got := p.get(path, nil); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	req, _ := http.NewRequest("GET", "http://"+p.api+"/api/v1/labels", nil)
	req.Host = "evil.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if strings.Contains(p.log.String(), `"resource"`) {
		t.Errorf("the resource is on every line of the log:\n%s", p.log)
	}
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign host name: %s, %v", resp.Status, resp.Header)
	}
}

// Two collectors live side by side on their own ports and directories; a third
// that wants what one of them has says so.
func TestCollisions(t *testing.T) {
	a := start(t, t.TempDir())
	start(t, t.TempDir())
	for name, c := range map[string]struct{ dir, env, want string }{
		"port of the API": {t.TempDir(), "THAW_HTTP_ENDPOINT=" + a.api, "address already in use"},
		"port of OTLP":    {t.TempDir(), "THAW_OTLP_HTTP_ENDPOINT=" + a.otlp, "address already in use"},
		"data directory":  {filepath.Dir(dirOf(a)), "", "in use by another collector"},
		"itself":          {t.TempDir(), "THAW_FORWARD_ENDPOINT=http://localhost:4318", "own endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			env := []string{c.env}
			if name == "itself" {
				env = append(env, "THAW_OTLP_HTTP_ENDPOINT=127.0.0.1:4318")
			}
			p := launch(t, c.dir, env...)
			p.ready()
			select {
			case err := <-p.exited:
				if err == nil || !strings.Contains(p.log.String(), c.want) {
					t.Errorf("exit %v, want an error with %q\n%s", err, c.want, p.log)
				}
			case <-time.After(30 * time.Second):
				t.Error("it runs")
			}
		})
	}
}

func dirOf(p *process) string {
	for _, e := range p.cmd.Env {
		if dir, ok := strings.CutPrefix(e, "THAW_DATA_DIR="); ok {
			return filepath.Join(dir, "x")
		}
	}
	return ""
}

func TestForward(t *testing.T) {
	got := make(chan int, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		zipped, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, _ := io.ReadAll(zipped)
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(body); err != nil {
			t.Error(err)
		}
		got <- req.Traces().SpanCount()
	}))
	defer backend.Close()
	p := start(t, t.TempDir(), "THAW_FORWARD_ENDPOINT="+backend.URL)
	td := newWorld("f").invocation(time.Second)
	p.send(td)
	select {
	case n := <-got:
		if n != td.SpanCount() {
			t.Errorf("%d of %d spans are passed on", n, td.SpanCount())
		}
	case <-time.After(10 * time.Second):
		t.Errorf("nothing is passed on\n%s", p.log)
	}
	p.flush()
	p.want("faas_invocations_total", 1)
}

func TestVersionAndHelp(t *testing.T) {
	env := func(name string) (string, bool) {
		if name == "HOME" {
			return "/home/u", true
		}
		return "", false
	}
	for arg, want := range map[string]string{
		"validate":  "",
		"--version": "thaw-collector version ",
		"--help":    "/home/u/.local/state/thaw",
		"example":   "coldstart:",
	} {
		var out bytes.Buffer
		if code := run(context.Background(), []string{arg}, env, &out, &out); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, %q\nwant %q", arg, code, out.String(), want)
		}
	}
	var out bytes.Buffer
	if code := run(context.Background(), []string{"--nonsense"}, env, &out, &out); code != 1 {
		t.Errorf("unknown flag: exit %d: %s", code, out.String())
	}
}
