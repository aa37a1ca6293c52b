package e2e

import (
	"cmp"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// backend is what a trace backend is to the collector: an OTLP/HTTP endpoint.
type backend struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
	errs  []error
}

type span struct {
	ptrace.Span
	resource pcommon.Map
}

func newBackend(t *testing.T) *backend {
	b := &backend{}
	b.Server = httptest.NewServer(http.HandlerFunc(b.receive))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) receive(w http.ResponseWriter, r *http.Request) {
	req := ptraceotlp.NewExportRequest()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err == nil {
		err = req.UnmarshalProto(raw)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.errs = append(b.errs, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, rs := range req.Traces().ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				b.spans = append(b.spans, span{s, rs.Resource().Attributes()})
			}
		}
	}
	answer, err := ptraceotlp.NewExportResponse().MarshalProto()
	if err != nil {
		b.errs = append(b.errs, err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

// The traces of one environment's life (a cold start, a warm invocation, the
// shutdown), as the collector passes them on.
func TestTraceOfColdStart(t *testing.T) {
	b := newBackend(t)
	w := newWorld(t, "THAW_FORWARD_ENDPOINT="+b.URL)
	w.deploy("flaky", 512)
	w.invoke("flaky", 512, `{"mode":"ok"}`)
	w.invoke("flaky", 512, `{"mode":"ok"}`)
	w.drain()
	// Stopping drains the queue towards the backend.
	if err := w.collector.Stop(); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, err := range b.errs {
		t.Errorf("the backend could not read what it was sent: %v", err)
	}
	got := tree(t, b.spans)
	const golden = "testdata/life.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the traces are not those of %s (-update rewrites it):\n%s", golden, got)
	}
}

// tree prints spans as people read them: children below their parents, in order
// of time, with what differs from run to run masked.
func tree(t *testing.T, spans []span) string {
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.StartTimestamp(), b.StartTimestamp()), -cmp.Compare(a.EndTimestamp(), b.EndTimestamp()))
	})
	var b strings.Builder
	if len(spans) > 0 {
		b.WriteString("resource\n")
		attributes(&b, "  ", spans[0].resource)
	}
	printed := 0
	var print func(parent pcommon.SpanID, depth int)
	print = func(parent pcommon.SpanID, depth int) {
		for _, s := range spans {
			if s.ParentSpanID() != parent {
				continue
			}
			printed++
			if s.Name() == unattributed {
				continue
			}
			indent := strings.Repeat("  ", depth)
			fmt.Fprintf(&b, "%s%s (%s)", indent, s.Name(), s.Kind())
			if code := s.Status().Code(); code != ptrace.StatusCodeUnset {
				fmt.Fprintf(&b, " status %s %s", code, s.Status().Message())
			}
			b.WriteByte('\n')
			attributes(&b, indent+"  ", s.Attributes())
			print(s.SpanID(), depth+1)
		}
	}
	print(pcommon.SpanID{}, 0)
	if printed != len(spans) {
		t.Errorf("%d of %d spans hang in no tree", len(spans)-printed, len(spans))
	}
	return b.String()
}

// masked are the values that differ from run to run and machine to machine.
var masked = regexp.MustCompile(`_ms$|instance$|invocation_id$|memory_used$|max_rss$|host\.arch$|bytes_exported$|events_received$|bucket_|spans_exported$|profile\.tree$`)

// unattributed is left out: whether a fraction of a millisecond remains
// unexplained differs from run to run.
const unattributed = "unattributed"

// sometimes are attributes that are there or not: what a run of a millisecond
// used cannot always be read, and a gap may be none.
var sometimes = regexp.MustCompile(`^thaw\.(usage\.|init\.gap_ms$)`)

func attributes(b *strings.Builder, indent string, m pcommon.Map) {
	var lines []string
	for key, value := range m.All() {
		if strings.Contains(key, unattributed) || sometimes.MatchString(key) {
			continue
		}
		text := value.AsString()
		if masked.MatchString(key) {
			text = "*"
		}
		lines = append(lines, indent+key+" = "+text+"\n")
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
}
