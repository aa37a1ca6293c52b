// Package evidenceexporter is an OpenTelemetry Collector exporter that keeps
// the traces of some cold starts whole: the slowest and the newest of each
// version of a function, in bounded files of OTLP. Metrics say how often and
// how long; these say where.
//
// It is best effort and holds up nobody: what is counted is the connector's
// business. Traces are written by a goroutine of its own, and one that finds
// no room in its queue is not kept.
package evidenceexporter

import (
	"context"
	"net/http"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/thaw-lambda/thaw/internal/evidence"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// maxQueue bounds the traces that wait to be written.
const maxQueue = 64

// evidenceExporter is the component.
type evidenceExporter struct {
	cfg   *Config
	log   *zap.Logger
	index *index
	files *files

	queue   chan job
	stop    chan struct{}
	written sync.WaitGroup
	unmount func()
}

// job is a trace to be kept, or more spans of one that is. A job without spans
// is answered when all before it are done.
type job struct {
	coldStart evidence.ColdStart
	spans     ptrace.Traces
	more      bool
	done      chan struct{}
}

func newExporter(cfg *Config, log *zap.Logger) *evidenceExporter {
	return &evidenceExporter{
		cfg: cfg, log: log, index: newIndex(cfg), files: &files{dir: cfg.Directory},
		queue: make(chan job, maxQueue), stop: make(chan struct{}),
	}
}

// mounter is an extension that serves HTTP.
type mounter interface {
	// Mount serves h below a path until the returned function is called.
	Mount(path string, h http.Handler) (remove func())
}

// flushRegistry is an extension that may want everything to be written now.
type flushRegistry interface {
	OnFlush(name string, flush func(context.Context) error) (remove func())
}

// Start reads what is there, in the background, and begins to write.
func (e *evidenceExporter) Start(_ context.Context, host component.Host) error {
	if err := e.files.open(); err != nil {
		return err
	}
	var removes []func()
	for _, ext := range host.GetExtensions() {
		if m, ok := ext.(mounter); ok {
			removes = append(removes, m.Mount(evidence.Path, e.handler()))
		}
		if r, ok := ext.(flushRegistry); ok {
			removes = append(removes, r.OnFlush("evidence", e.flush))
		}
	}
	e.unmount = func() {
		for _, remove := range removes {
			remove()
		}
	}
	e.written.Go(e.run)
	return nil
}

// Shutdown writes what waits.
func (e *evidenceExporter) Shutdown(context.Context) error {
	if e.unmount == nil {
		return nil // never started
	}
	e.unmount()
	e.unmount = nil
	close(e.stop)
	e.written.Wait()
	return nil
}

// Capabilities says that traces are only read.
func (e *evidenceExporter) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// ConsumeTraces never fails. It is called for every batch, and nearly all are
// of warm invocations: those it looks at only once.
func (e *evidenceExporter) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	for _, rs := range td.ResourceSpans().All() {
		var late []pcommon.TraceID
		found := false
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				kind, ok := span.Attributes().Get(lifecycle.AttrSpanType)
				switch {
				case !ok:
				case kind.Str() == string(lifecycle.SpanInit):
					found = true
				case kind.Str() == string(lifecycle.SpanReport) && e.index.has(span.TraceID()):
					late = append(late, span.TraceID())
				}
			}
		}
		if found {
			e.offer(rs)
		}
		for _, id := range late {
			e.enqueue(job{coldStart: evidence.ColdStart{ID: id.String()}, spans: only(rs, id), more: true})
		}
	}
	return nil
}

// offer queues the cold starts of rs that are worth keeping.
func (e *evidenceExporter) offer(rs ptrace.ResourceSpans) {
	for _, c := range coldStarts(rs) {
		if !e.index.wants(c.ColdStart) {
			continue
		}
		e.enqueue(job{coldStart: c.ColdStart, spans: only(rs, c.trace)})
	}
}

func (e *evidenceExporter) enqueue(j job) {
	select {
	case e.queue <- j:
	default:
		e.log.Debug("A cold start is not kept: too many come at once", zap.String("function", j.coldStart.Function))
	}
}

// flush waits until what was queued before is written.
func (e *evidenceExporter) flush(ctx context.Context) error {
	done := make(chan struct{})
	for _, wait := range []func() (sent bool){
		func() bool {
			select {
			case e.queue <- job{done: done}:
				return true
			case <-ctx.Done():
				return false
			}
		},
		func() bool {
			select {
			case <-done:
				return true
			case <-ctx.Done():
				return false
			}
		},
	} {
		if !wait() {
			return ctx.Err()
		}
	}
	return nil
}

// run reads the files that are there, and then writes until it is stopped.
func (e *evidenceExporter) run() {
	e.load()
	for {
		select {
		case j := <-e.queue:
			e.do(j)
		case <-e.stop:
			for {
				select {
				case j := <-e.queue:
					e.do(j)
				default:
					return
				}
			}
		}
	}
}

func (e *evidenceExporter) do(j job) {
	var err error
	switch {
	case j.done != nil:
		close(j.done)
	case j.more:
		err = e.extend(j)
	default:
		err = e.keep(j)
	}
	if err != nil {
		e.log.Warn("A cold start could not be kept", zap.String("function", j.coldStart.Function), zap.Error(err))
	}
}

// keep writes a trace, and removes those that it takes the place of.
func (e *evidenceExporter) keep(j job) error {
	size, err := e.files.write(j.coldStart.ID, j.spans)
	if err != nil {
		return err
	}
	for _, id := range e.index.add(j.coldStart, size) {
		e.files.remove(id)
	}
	return nil
}

// extend adds spans that came later to the cold starts of their trace.
func (e *evidenceExporter) extend(j job) error {
	found := e.index.ofTrace(j.coldStart.ID)
	if len(found) == 0 {
		return nil
	}
	c := found[0] // there is one but in made up traces
	kept, err := e.files.read(c.ID)
	if err != nil {
		return err
	}
	j.spans.ResourceSpans().MoveAndAppendTo(kept.ResourceSpans())
	size, err := e.files.write(c.ID, kept)
	if err != nil {
		return err
	}
	for _, id := range e.index.add(c, size) {
		e.files.remove(id)
	}
	return nil
}

// load reads what an earlier run has kept. What cannot be read is removed:
// nobody would ever look at it.
func (e *evidenceExporter) load() {
	for _, id := range e.files.list() {
		select {
		case <-e.stop:
			return
		default:
		}
		td, err := e.files.read(id)
		if err != nil {
			e.log.Warn("A kept cold start cannot be read, and is removed", zap.String("file", e.files.path(id)), zap.Error(err))
			e.files.remove(id)
			continue
		}
		kept := false
		for _, rs := range td.ResourceSpans().All() {
			for _, c := range coldStarts(rs) {
				if c.ID == id {
					kept = true
					for _, gone := range e.index.add(c.ColdStart, e.files.size(id)) {
						e.files.remove(gone)
					}
				}
			}
		}
		if !kept {
			e.files.remove(id)
		}
	}
}

// traced is a cold start with its trace.
type traced struct {
	evidence.ColdStart
	trace pcommon.TraceID
}

// coldStarts describes the inits in rs.
func coldStarts(rs ptrace.ResourceSpans) []traced {
	traces := map[pcommon.SpanID]pcommon.TraceID{}
	for _, ss := range rs.ScopeSpans().All() {
		for _, span := range ss.Spans().All() {
			traces[span.SpanID()] = span.TraceID()
		}
	}
	var out []traced
	lifecycle.Decode(rs, func(o lifecycle.Observation) {
		if o.Init == nil {
			return
		}
		env, in, trace := o.Environment, o.Init, traces[o.SpanID]
		c := evidence.ColdStart{
			ID:      trace.String() + "-" + o.SpanID.String(),
			Account: env.AccountID, Region: env.Region, Function: env.Name, Version: env.Version,
			MemoryMB: env.MemoryMB, Architecture: env.Arch, Runtime: env.RuntimeVersion,
			Start: in.Start.UTC(), InitMS: float64(in.Duration.Microseconds()) / 1000,
			Kind: string(in.Kind), Phase: string(in.Phase), Demand: string(in.Demand),
			Status: string(in.Status), ErrorType: in.ErrorType,
		}
		if in.Profile != nil {
			c.Profiled, c.Inside = true, in.Profile.Inside
		}
		out = append(out, traced{c, trace})
	}, func(error) {}) // the connector counts those
	return out
}

// only copies the spans of one trace.
func only(rs ptrace.ResourceSpans, id pcommon.TraceID) ptrace.Traces {
	out := ptrace.NewTraces()
	dst := out.ResourceSpans().AppendEmpty()
	rs.Resource().CopyTo(dst.Resource())
	for _, ss := range rs.ScopeSpans().All() {
		scope := dst.ScopeSpans().AppendEmpty()
		ss.Scope().CopyTo(scope.Scope())
		for _, span := range ss.Spans().All() {
			if span.TraceID() == id {
				span.CopyTo(scope.Spans().AppendEmpty())
			}
		}
	}
	return out
}
