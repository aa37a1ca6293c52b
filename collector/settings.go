package collector

// Setting documents an environment variable of the built-in configuration.
type Setting struct {
	Name, Default, Text string
}

// Settings lists the environment variables that thaw-collector reads when it
// runs its built-in configuration: its help and docs/config.md say what they
// say.
//
// OTEL_EXPORTER_OTLP_ENDPOINT is not among them on purpose: it is what makes
// programs send to a collector, such as this one, and would make a loop.
func Settings() []Setting {
	return []Setting{
		{"THAW_DATA_DIR", "$XDG_STATE_HOME/thaw or ~/.local/state/thaw", "where everything is kept: counts, journal and store"},
		{"THAW_OTLP_HTTP_ENDPOINT", "127.0.0.1:4318", "address of the OTLP/HTTP receiver"},
		{"THAW_OTLP_GRPC_ENDPOINT", "127.0.0.1:4317", "address of the OTLP/gRPC receiver"},
		{"THAW_HTTP_ENDPOINT", "127.0.0.1:8464", "address of the report's page and of the Prometheus API"},
		{"THAW_FORWARD_ENDPOINT", "", "OTLP/HTTP endpoint of a backend that traces are passed on to"},
		{"THAW_RETENTION", "360h", "how long the store keeps its samples"},
		{"THAW_WATERMARK", "15m", "how long after it happened the cause of a cold start is settled"},
		{"THAW_VIRTUAL_CLOCK", "false", "take the time from the spans, to replay the past into a data directory of its own; thaw import sets it"},
		{"THAW_LOG_LEVEL", "info", "debug, info, warn or error"},
	}
}
