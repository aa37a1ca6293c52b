// Package evidence is what the collector and the report agree on about cold
// starts that are kept whole: the collector keeps the traces of the slowest and
// the newest of each function in bounded files and lists them, the report reads
// them for flame graphs and for what changed between two versions.
//
//	GET /api/evidence/v1/cold-starts?function=&account=&region=&version=   a List
//	GET /api/evidence/v1/cold-starts/ID                                    the trace, as OTLP protobuf
//	GET /api/evidence/v1/cold-starts/ID?format=json                        the same as OTLP JSON
package evidence

import "time"

// Path is where a collector serves the list. A cold start is below it.
const Path = "/api/evidence/v1/cold-starts"

// MaxTrace bounds one trace, not compressed.
const MaxTrace = 1 << 20

// List is the answer to a request for a list, the newest first.
type List struct {
	ColdStarts []ColdStart `json:"cold_starts"`
}

// ColdStart is what is known of a cold start without reading its trace. An init
// that no invocation waited for is one too.
type ColdStart struct {
	// ID names it: the ids of its trace and of the span of its init.
	ID string `json:"id"`

	Account      string `json:"account"`
	Region       string `json:"region"`
	Function     string `json:"function"`
	Version      string `json:"version"`
	MemoryMB     int64  `json:"memory_mb"`
	Architecture string `json:"architecture"`
	Runtime      string `json:"runtime"`

	Start     time.Time `json:"start"`
	InitMS    float64   `json:"init_ms"`
	Kind      string    `json:"kind"`
	Phase     string    `json:"phase"`
	Demand    string    `json:"demand"`
	Status    string    `json:"status"`
	ErrorType string    `json:"error_type,omitempty"`

	// Profiled says that a hook in the runtime profiled it, Inside what an init
	// that failed was loading.
	Profiled bool   `json:"profiled"`
	Inside   string `json:"inside,omitempty"`
}
