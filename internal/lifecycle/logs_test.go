package lifecycle

import (
	"encoding/json"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

// TestLogLine: what the Telemetry API sends for a line, and what becomes of it.
func TestLogLine(t *testing.T) {
	f := func(record, body, severity string, number plog.SeverityNumber) {
		t.Helper()
		e := Encoder{Environment: environment()}
		dst := e.LogScope(plog.NewLogs())
		e.LogLine(dst, LogLine{Record: json.RawMessage(record), Written: at(1), Received: at(2), Invocation: invocation(Warm)})
		got := dst.At(0)
		if got.Body().AsString() != body || got.SeverityText() != severity || got.SeverityNumber() != number {
			t.Errorf("%s: %q, %q, %v", record, got.Body().AsString(), got.SeverityText(), got.SeverityNumber())
		}
		if got.TraceID().String() != "5f35ae120c0fec141ab77a00bc047aa2" || got.SpanID().IsEmpty() || got.Timestamp().AsTime() != at(1) {
			t.Errorf("%s: trace %s, span %s, time %v", record, got.TraceID(), got.SpanID(), got.Timestamp())
		}
	}
	f(`"hello\n"`, "hello", "", 0)
	f(`"two\nlines\n"`, "two\nlines", "", 0)
	f(`""`, "", "", 0)
	f(`{"level":"error","message":"no"}`, `{"level":"error","message":"no"}`, "error", plog.SeverityNumberError)
	f(`{"level":"WARNING"}`, `{"level":"WARNING"}`, "WARNING", plog.SeverityNumberWarn)
	f(`{"level":7}`, `{"level":7}`, "", 0)
	f(`[1,2]`, "[1,2]", "", 0)
	f(`null`, "null", "", 0)
	f(`{`, "", "", 0)
}

// FuzzLogLine: whatever a function writes makes a record that can be sent.
func FuzzLogLine(f *testing.F) {
	f.Add([]byte(`"hello\n"`))
	f.Add([]byte(`{"level":"INFO","a":{"b":[1,null,true,1e400]}}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		e := Encoder{Environment: environment()}
		logs := plog.NewLogs()
		e.LogLine(e.LogScope(logs), LogLine{Record: record, Written: time.Unix(0, 0)})
		body, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := new(plog.ProtoUnmarshaler).UnmarshalLogs(body); err != nil || back.LogRecordCount() != 1 {
			t.Errorf("%d records, %v", back.LogRecordCount(), err)
		}
	})
}
