package extension

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// event is a telemetry event that could be read.
type event struct {
	kind string
	time time.Time
	// record points to the record's type in lambdaapi, or is a line, or nil
	// for what we have no use for.
	record any
	// text is a line as it came.
	text json.RawMessage
	// digest tells platform events apart; 0 for others.
	digest uint64
	// goInit is a line that may tell how long a Go package was initialised, and
	// else empty.
	goInit string
}

// maxInitLine bounds the lines of Go's inittrace, which are short.
const maxInitLine = 512

// line is a line of the function's log: its size in bytes.
type line int64

// decoder reads batches of telemetry. It is tolerant: what cannot be read costs
// the event, or the field, and is counted; unknown types are passed over.
type decoder struct {
	seed maphash.Seed
}

func newDecoder() decoder { return decoder{maphash.MakeSeed()} }

// decode reads a batch, and counts what was malformed in it.
func (d decoder) decode(body []byte) (events []event, malformed int64) {
	raw, malformed := split(body)
	events = make([]event, 0, len(raw))
	for i := range raw {
		ev, ok := d.event(&raw[i])
		if !ok {
			malformed++
		}
		events = append(events, ev)
	}
	return events, malformed
}

// split reads the envelopes. A field of an unexpected type costs that field: the
// JSON package goes on after it. What is not JSON costs the rest of the batch.
func split(body []byte) (raw []lambdaapi.Event, malformed int64) {
	err := json.Unmarshal(body, &raw)
	if err == nil || isTypeError(err) && raw != nil {
		return raw, 0
	}
	raw = nil
	dec := json.NewDecoder(bytes.NewReader(body))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return nil, 1
	}
	for dec.More() {
		var ev lambdaapi.Event
		if err := dec.Decode(&ev); err != nil && !isTypeError(err) {
			return raw, 1
		}
		raw = append(raw, ev)
	}
	return raw, 1
}

func (d decoder) event(raw *lambdaapi.Event) (ev event, ok bool) {
	ev = event{kind: raw.Type, time: raw.Time.Time}
	if raw.Type == "" {
		return ev, false
	}
	if raw.Type == lambdaapi.TypeFunction {
		ev.record, ev.text = line(lineSize(raw.Record)), raw.Record
		if bytes.HasPrefix(raw.Record, []byte(`"init `)) && len(raw.Record) < maxInitLine {
			_ = json.Unmarshal(raw.Record, &ev.goInit) // a string, or it stays empty
		}
		return ev, true
	}
	if !strings.HasPrefix(raw.Type, "platform.") {
		return ev, true
	}
	ev.digest = d.digest(raw)
	if raw.Type == lambdaapi.TypeFault {
		ev.record = readFault(raw.Record)
		return ev, true
	}
	rec := newRecord(raw.Type)
	if rec == nil {
		return ev, true
	}
	if err := json.Unmarshal(raw.Record, rec); err != nil && !isFieldError(err) {
		return ev, false // a string, or nothing: it says nothing
	}
	ev.record = rec
	return ev, ev.usable()
}

// usable says whether a record has what it cannot do without.
func (ev *event) usable() bool {
	id := "-"
	switch rec := ev.record.(type) {
	case *lambdaapi.Start:
		id = rec.RequestID
	case *lambdaapi.RuntimeDone:
		id = rec.RequestID
	case *lambdaapi.Report:
		id = rec.RequestID
	case *lambdaapi.LogsDropped:
		return true
	}
	if id == "" || ev.time.IsZero() {
		ev.record = nil
		return false
	}
	return true
}

// runOver returns the request of an event that tells of the end of a run.
func runOver(ev *event) (requestID string, over bool) {
	switch rec := ev.record.(type) {
	case *lambdaapi.RuntimeDone:
		return rec.RequestID, true
	case *lambdaapi.Report:
		return rec.RequestID, true
	}
	return "", false
}

func (d decoder) digest(raw *lambdaapi.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.WriteString(raw.Type)
	h.WriteString(raw.Time.Format(lambdaapi.TimeLayout))
	h.Write(raw.Record)
	return max(h.Sum64(), 1)
}

func newRecord(kind string) any {
	switch kind {
	case lambdaapi.TypeInitStart, lambdaapi.TypeRestoreStart:
		return new(lambdaapi.InitStart)
	case lambdaapi.TypeInitRuntimeDone, lambdaapi.TypeRestoreRuntimeDone:
		return new(lambdaapi.InitRuntimeDone)
	case lambdaapi.TypeInitReport, lambdaapi.TypeRestoreReport:
		return new(lambdaapi.InitReport)
	case lambdaapi.TypeStart:
		return new(lambdaapi.Start)
	case lambdaapi.TypeRuntimeDone:
		return new(lambdaapi.RuntimeDone)
	case lambdaapi.TypeReport:
		return new(lambdaapi.Report)
	case lambdaapi.TypeLogsDropped:
		return new(lambdaapi.LogsDropped)
	case lambdaapi.TypeExtension:
		return new(lambdaapi.Extension)
	}
	return nil
}

// fault is the text of a platform.fault, which is documented for the Logs API
// only: a string, or an object with the text in it.
type fault string

func readFault(record json.RawMessage) fault {
	var text string
	if json.Unmarshal(record, &text) == nil {
		return fault(text)
	}
	var object struct {
		Fault string `json:"fault"`
	}
	_ = json.Unmarshal(record, &object) // what is neither says nothing
	return fault(object.Fault)
}

// lineSize is the size of a log line without its newline: of the text if the
// record is one, of the JSON if it is an object.
func lineSize(record json.RawMessage) int64 {
	if len(record) < 2 || record[0] != '"' {
		return int64(len(record))
	}
	text := record[1 : len(record)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return int64(len(text))
	}
	var s string
	if json.Unmarshal(record, &s) != nil {
		return int64(len(text))
	}
	return int64(len(strings.TrimSuffix(s, "\n")))
}

func isTypeError(err error) bool {
	var typeError *json.UnmarshalTypeError
	return errors.As(err, &typeError)
}

// isFieldError says whether only a field of an object could not be read.
func isFieldError(err error) bool {
	var typeError *json.UnmarshalTypeError
	return errors.As(err, &typeError) && typeError.Field != ""
}
