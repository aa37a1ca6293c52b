package emulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Kinds of ledger entries.
const (
	KindEnvironmentCreated  = "environment.created"
	KindEnvironmentShutdown = "environment.shutdown"
	KindProcessStart        = "process.start"
	KindProcessExit         = "process.exit"
	KindInitStart           = "init.start"
	KindInitEnd             = "init.end"
	KindRestoreStart        = "restore.start" // of a snapshot
	KindRestoreEnd          = "restore.end"
	KindInvocationStart     = "invocation.start"
	KindInvocationEnd       = "invocation.end"
	KindFreeze              = "freeze"
	KindThaw                = "thaw"
)

// Entry is one thing that happened. Which fields are set depends on Kind.
type Entry struct {
	Time        time.Time `json:"time"`
	Kind        string    `json:"kind"`
	Function    string    `json:"function"`
	Version     string    `json:"version"`
	MemoryMB    int       `json:"memoryMB"`
	Environment string    `json:"environment"` // its id, the name of the log stream

	// Processes. Role is "runtime" or "extension"; ExitStatus is in the words
	// of Lambda: "exit status 1", "signal: killed".
	PID        int    `json:"pid,omitempty"`
	Role       string `json:"role,omitempty"`
	Name       string `json:"name,omitempty"`
	ExitStatus string `json:"exitStatus,omitempty"`
	OOMKill    bool   `json:"oomKill,omitempty"`

	// Inits, restores and invocations: Phase is "init" or "invoke". InitKind is
	// what the environment was made for: "on-demand", "provisioned-concurrency",
	// "snap-start" or "lambda-managed-instances". Ahead: no request waited.
	Phase    string `json:"phase,omitempty"`
	InitKind string `json:"initKind,omitempty"`
	Ahead    bool   `json:"ahead,omitempty"`

	// Invocations. Cold: it had to wait for an init or a restore. HandledError: the handler
	// reported an error and lived, which the platform calls a success.
	RequestID    string  `json:"requestId,omitempty"`
	Cold         bool    `json:"cold,omitempty"`
	HandledError bool    `json:"handledError,omitempty"`
	BilledMs     int64   `json:"billedMs,omitempty"`
	InitMs       float64 `json:"initMs,omitempty"`
	RestoreMs    float64 `json:"restoreMs,omitempty"`
	OverheadMs   float64 `json:"overheadMs,omitempty"` // what extensions added after the runtime was done
	MaxMemoryMB  int64   `json:"maxMemoryMB,omitempty"`

	// Inits and invocations.
	Status     string  `json:"status,omitempty"`
	ErrorType  string  `json:"errorType,omitempty"`
	DurationMs float64 `json:"durationMs,omitempty"`

	// Reason of a shutdown: "spindown", "failure" or "timeout". The latter two
	// are resets: the environment goes on, with new processes.
	Reason string `json:"reason,omitempty"`
}

// Ledger is the emulator's own record of what really happened, in order. It is
// the truth that what others measured can be compared against.
type Ledger struct {
	mu      sync.Mutex
	entries []Entry
}

func (l *Ledger) add(entry Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.Time = time.Now().UTC()
	l.entries = append(l.entries, entry)
}

// Entries returns a copy of all entries so far.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// WriteTo writes all entries as JSON lines.
func (l *Ledger) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for _, entry := range l.Entries() {
		line, err := json.Marshal(entry)
		if err != nil {
			return written, fmt.Errorf("emulator: ledger entry: %w", err)
		}
		n, err := w.Write(append(line, '\n'))
		written += int64(n)
		if err != nil {
			return written, fmt.Errorf("emulator: write ledger: %w", err)
		}
	}
	return written, nil
}

// Totals sums up the ledger for one function, version and memory size.
type Totals struct {
	Function string
	Version  string
	MemoryMB int

	Invocations   int
	ColdStarts    int // invocations that waited for an init or a restore
	Errors        int // status error or failure; timeouts are not among them
	Timeouts      int
	HandledErrors int // reported by the handler, a success for the platform
	OOMKills      int
	BilledMs      int64
	DurationsMs   []float64 // of each invocation, as reported, in order of their end
	InitMs        []float64 // of each init of phase init, and each restore, that succeeded; that before a snapshot is not among them
}

// Summary returns the totals, sorted by function, version and memory size.
func (l *Ledger) Summary() []Totals {
	type key struct {
		function, version string
		memoryMB          int
	}
	sums := map[key]*Totals{}
	for _, entry := range l.Entries() {
		k := key{entry.Function, entry.Version, entry.MemoryMB}
		if sums[k] == nil {
			sums[k] = &Totals{Function: k.function, Version: k.version, MemoryMB: k.memoryMB}
		}
		sums[k].add(entry)
	}
	out := make([]Totals, 0, len(sums))
	for _, totals := range sums {
		out = append(out, *totals)
	}
	slices.SortFunc(out, func(a, b Totals) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.Version, b.Version), cmp.Compare(a.MemoryMB, b.MemoryMB))
	})
	return out
}

func (t *Totals) add(entry Entry) {
	switch entry.Kind {
	case KindInvocationEnd:
		t.addInvocation(entry)
	case KindInitEnd, KindRestoreEnd:
		snapshot := entry.Kind == KindInitEnd && entry.InitKind == kindSnapStart
		if entry.Phase != phaseInvoke && !snapshot && entry.Status == statusSuccess {
			t.InitMs = append(t.InitMs, entry.DurationMs)
		}
	case KindProcessExit:
		if entry.OOMKill {
			t.OOMKills++
		}
	}
}

func (t *Totals) addInvocation(entry Entry) {
	t.Invocations++
	t.BilledMs += entry.BilledMs
	t.DurationsMs = append(t.DurationsMs, entry.DurationMs)
	if entry.Cold {
		t.ColdStarts++
	}
	if entry.HandledError {
		t.HandledErrors++
	}
	switch entry.Status {
	case statusError, statusFailure:
		t.Errors++
	case statusTimeout:
		t.Timeouts++
	}
}
