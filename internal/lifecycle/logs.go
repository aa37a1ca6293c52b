package lifecycle

import (
	"encoding/json"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Attributes of the account of forwarded log lines.
const (
	AttrLogsForwarded = "thaw.account.logs_forwarded"
	AttrLogsDropped   = "thaw.account.logs_dropped"
)

// LogLine is a line of a function's log as the Telemetry API has it.
type LogLine struct {
	// Record is a JSON string or, of a function that logs JSON, an object.
	Record            json.RawMessage
	Written, Received time.Time
	// Invocation is the one that it was written in, nil if none is known.
	Invocation *Invocation
}

// LogScope appends the resource and the scope of the environment to ld, and
// returns the slice that LogLine appends to.
func (e *Encoder) LogScope(ld plog.Logs) plog.LogRecordSlice {
	rl := ld.ResourceLogs().AppendEmpty()
	e.resource(rl.Resource().Attributes())
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(ScopeName)
	sl.Scope().SetVersion(e.ScopeVersion)
	return sl.LogRecords()
}

// LogLine appends a line, as a part of its invocation's trace.
func (e *Encoder) LogLine(dst plog.LogRecordSlice, line LogLine) {
	record := dst.AppendEmpty()
	record.SetTimestamp(pcommon.NewTimestampFromTime(line.Written))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(line.Received))
	if inv := line.Invocation; inv != nil {
		id := inv.Identity(e.Environment.ID)
		trace, _ := e.trace(inv, id)
		record.SetTraceID(trace)
		record.SetSpanID(id.SpanID(string(SpanInvocation)))
		record.Attributes().PutStr(AttrInvocationID, inv.RequestID)
	}
	var value any
	if json.Unmarshal(line.Record, &value) != nil {
		return // the Telemetry API sends JSON
	}
	switch value := value.(type) {
	case string:
		record.Body().SetStr(strings.TrimSuffix(value, "\n"))
	case map[string]any:
		setSeverity(record, value)
		_ = record.Body().FromRaw(value) // whatever JSON has it takes
	default:
		record.Body().SetStr(string(line.Record))
	}
}

// setSeverity reads the level of a line in Lambda's JSON format.
func setSeverity(record plog.LogRecord, line map[string]any) {
	level, _ := line["level"].(string)
	if level == "" || len(level) > 16 {
		return
	}
	record.SetSeverityText(level)
	for prefix, number := range map[string]plog.SeverityNumber{
		"TRACE": plog.SeverityNumberTrace, "DEBUG": plog.SeverityNumberDebug, "INFO": plog.SeverityNumberInfo,
		"WARN": plog.SeverityNumberWarn, "ERROR": plog.SeverityNumberError, "FATAL": plog.SeverityNumberFatal, "CRITICAL": plog.SeverityNumberFatal,
	} {
		if strings.HasPrefix(strings.ToUpper(level), prefix) {
			record.SetSeverityNumber(number)
		}
	}
}
