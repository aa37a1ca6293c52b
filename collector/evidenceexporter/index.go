package evidenceexporter

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/thaw-lambda/thaw/internal/evidence"
)

// index knows what is kept, and decides what is.
type index struct {
	cfg *Config

	mu        sync.RWMutex
	functions map[functionKey]map[string]*version
	// traces counts the cold starts that are kept of a trace.
	traces map[string]int
	bytes  int64
}

type functionKey struct{ account, region, name string }

// version is what is kept of one version of a function.
type version struct {
	// kept is in order of time, the newest first.
	kept []entry
}

type entry struct {
	evidence.ColdStart
	size int64
}

func newIndex(cfg *Config) *index {
	return &index{cfg: cfg, functions: map[functionKey]map[string]*version{}, traces: map[string]int{}}
}

func keyOf(c evidence.ColdStart) functionKey { return functionKey{c.Account, c.Region, c.Function} }

func traceOf(id string) string {
	trace, _, _ := strings.Cut(id, "-")
	return trace
}

// has says whether a cold start of the trace is kept.
func (x *index) has(id pcommon.TraceID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.traces) > 0 && x.traces[id.String()] > 0
}

// wants says whether c would be kept.
func (x *index) wants(c evidence.ColdStart) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	v := x.functions[keyOf(c)][c.Version]
	if v == nil {
		return true
	}
	newer, slower := 0, 0
	for _, k := range v.kept {
		if k.ID == c.ID {
			return false // sent again
		}
		if k.Start.After(c.Start) {
			newer++
		}
		if k.InitMS >= c.InitMS {
			slower++
		}
	}
	return newer < x.cfg.Newest || slower < x.cfg.Slowest
}

// add notes c, in the place of an earlier one with its id, and returns the ids
// of those that are no longer kept.
func (x *index) add(c evidence.ColdStart, size int64) (gone []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	versions := x.functions[keyOf(c)]
	if versions == nil {
		versions = map[string]*version{}
		x.functions[keyOf(c)] = versions
	}
	v := versions[c.Version]
	if v == nil {
		v = &version{}
		versions[c.Version] = v
	}
	if at := slices.IndexFunc(v.kept, func(k entry) bool { return k.ID == c.ID }); at >= 0 {
		x.bytes += size - v.kept[at].size
		v.kept[at].size = size
		return x.shrink()
	}
	at, _ := slices.BinarySearchFunc(v.kept, c, func(k entry, c evidence.ColdStart) int { return c.Start.Compare(k.Start) })
	v.kept = slices.Insert(v.kept, at, entry{c, size})
	x.bytes += size
	x.traces[traceOf(c.ID)]++
	gone = x.prune(v)
	gone = append(gone, x.pruneVersions(versions)...)
	return append(gone, x.shrink()...)
}

// prune drops what is neither among the newest nor among the slowest.
func (x *index) prune(v *version) (gone []string) {
	bySpeed := slices.Clone(v.kept)
	slices.SortStableFunc(bySpeed, func(a, b entry) int { return cmp.Compare(b.InitMS, a.InitMS) })
	keep := map[string]bool{}
	for _, list := range [][]entry{v.kept[:min(x.cfg.Newest, len(v.kept))], bySpeed[:min(x.cfg.Slowest, len(bySpeed))]} {
		for _, k := range list {
			keep[k.ID] = true
		}
	}
	v.kept = slices.DeleteFunc(v.kept, func(k entry) bool {
		if !keep[k.ID] {
			gone = append(gone, x.forget(k))
		}
		return !keep[k.ID]
	})
	return gone
}

// pruneVersions drops the versions whose last cold start is the longest ago.
func (x *index) pruneVersions(versions map[string]*version) (gone []string) {
	for len(versions) > x.cfg.Versions {
		oldest := ""
		for name, v := range versions {
			if o := versions[oldest]; o == nil || v.kept[0].Start.Before(o.kept[0].Start) {
				oldest = name
			}
		}
		for _, k := range versions[oldest].kept {
			gone = append(gone, x.forget(k))
		}
		delete(versions, oldest)
	}
	return gone
}

// shrink drops the oldest until a tenth of the space is free.
func (x *index) shrink() (gone []string) {
	if x.bytes <= x.cfg.MaxBytes {
		return nil
	}
	var all []entry
	for _, versions := range x.functions {
		for _, v := range versions {
			all = append(all, v.kept...)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return a.Start.Compare(b.Start) })
	drop := map[string]bool{}
	for _, k := range all {
		if x.bytes <= x.cfg.MaxBytes/10*9 {
			break
		}
		gone = append(gone, x.forget(k))
		drop[k.ID] = true
	}
	for key, versions := range x.functions {
		for name, v := range versions {
			v.kept = slices.DeleteFunc(v.kept, func(k entry) bool { return drop[k.ID] })
			if len(v.kept) == 0 {
				delete(versions, name)
			}
		}
		if len(versions) == 0 {
			delete(x.functions, key)
		}
	}
	return gone
}

func (x *index) forget(k entry) (id string) {
	x.bytes -= k.size
	trace := traceOf(k.ID)
	if x.traces[trace]--; x.traces[trace] <= 0 {
		delete(x.traces, trace)
	}
	return k.ID
}

// ofTrace returns the cold starts that are kept of a trace.
func (x *index) ofTrace(trace string) []evidence.ColdStart {
	return x.find(func(c evidence.ColdStart) bool { return traceOf(c.ID) == trace })
}

// find returns what is kept and wanted, the newest first.
func (x *index) find(want func(evidence.ColdStart) bool) []evidence.ColdStart {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []evidence.ColdStart
	for _, versions := range x.functions {
		for _, v := range versions {
			for _, k := range v.kept {
				if want(k.ColdStart) {
					out = append(out, k.ColdStart)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b evidence.ColdStart) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.ID, b.ID))
	})
	return out
}
