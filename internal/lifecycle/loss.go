package lifecycle

import "go.opentelemetry.io/collector/pdata/pcommon"

// Attributes of what did not reach a backend.
const (
	AttrSpooled       = "thaw.account.spans_spooled"
	AttrReportLost    = "thaw.report.spans_dropped"
	AttrReportSpooled = "thaw.report.spans_spooled"
)

// Loss counts the spans that the extension could not deliver, since the last
// report that told of it.
type Loss struct {
	// Dropped are gone, Spooled are in the function's log.
	Dropped, Spooled int64
}

func (l Loss) put(m pcommon.Map) {
	if l.Dropped > 0 {
		m.PutInt(AttrReportLost, l.Dropped)
	}
	if l.Spooled > 0 {
		m.PutInt(AttrReportSpooled, l.Spooled)
	}
}

func (d *decoder) loss() Loss {
	return Loss{Dropped: d.int(AttrReportLost), Spooled: d.int(AttrReportSpooled)}
}

func lossAttributes() []Attribute {
	return []Attribute{
		{AttrReportLost, "invocation, report", "int", "{span}", "spans of Thaw's own that were given up since the previous report"},
		{AttrReportSpooled, "invocation, report", "int", "{span}", "spans that were written to the function's log since the previous report, for `thaw import`"},
		{AttrLogsForwarded, "shutdown", "int", "{line}", "log lines of the function that a backend acknowledged (THAW_LOGS=forward)"},
		{AttrLogsDropped, "shutdown", "int", "{line}", "log lines of the function that were not forwarded; they are in the function's own log"},
		{AttrSpooled, "shutdown", "int", "{span}", "spans that were written to the function's log, for `thaw import`"},
	}
}
