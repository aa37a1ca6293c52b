package coldstartconnector

import (
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config of the connector.
type Config struct {
	// Directory keeps what has been counted over restarts. It is created, and
	// belongs to one collector at a time. Required.
	Directory string `mapstructure:"directory"`
	// FlushInterval is how often what changed is emitted.
	FlushInterval time.Duration `mapstructure:"flush_interval"`
	// SnapshotInterval is how often the state is written as a whole, which
	// bounds the journal and the time of the next start.
	SnapshotInterval time.Duration `mapstructure:"snapshot_interval"`
	// Fsync waits for the disk before a batch is acknowledged, so that it
	// survives a power failure too, and not only the end of the process.
	Fsync bool `mapstructure:"fsync"`
	// SpanMemory is how long a span is remembered, to be recognised when a
	// sender repeats it. At least an hour.
	SpanMemory time.Duration `mapstructure:"span_memory"`
	// MaxSpans bounds how many are: beyond it the oldest are forgotten. One
	// costs about 40 bytes.
	MaxSpans int `mapstructure:"max_spans"`
	// MaxFunctions bounds the functions, each version, size, architecture and
	// kind counted as one. Spans of more are counted as rejected.
	MaxFunctions int `mapstructure:"max_functions"`
	// SeriesExpiry is after how much idle time a function is forgotten; it
	// begins at zero if it comes back. Longer than any range that is asked for.
	SeriesExpiry time.Duration `mapstructure:"series_expiry"`
	// Watermark is how long after it happened the cause of a cold start and the
	// rank of an arrival are settled: spans arrive an invocation or an idle time
	// late. What arrives later still is counted as late.
	Watermark time.Duration `mapstructure:"watermark"`
	// VirtualClock takes the time from the spans, which must come in its order:
	// the connector then counts the past as if it were happening. A directory is
	// for one kind of clock.
	VirtualClock bool `mapstructure:"virtual_clock"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		FlushInterval:    5 * time.Second,
		SnapshotInterval: 5 * time.Minute,
		SpanMemory:       24 * time.Hour,
		MaxSpans:         1_000_000,
		MaxFunctions:     50_000,
		SeriesExpiry:     30 * 24 * time.Hour,
		Watermark:        15 * time.Minute,
	}
}

// Validate says everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs error
	check := func(ok bool, message string) {
		if !ok {
			errs = errors.Join(errs, errors.New(message))
		}
	}
	check(c.Directory != "", "directory must be set, to where what has been counted is kept")
	check(c.FlushInterval >= 10*time.Millisecond, "flush_interval must be at least 10ms")
	check(c.FlushInterval <= time.Minute, "flush_interval must be at most 1m, or queries find gaps")
	check(c.SnapshotInterval >= time.Second, "snapshot_interval must be at least 1s")
	check(c.SpanMemory >= time.Hour, "span_memory must be at least 1h")
	check(c.MaxSpans >= 1000, "max_spans must be at least 1000")
	check(c.MaxFunctions >= 1, "max_functions must be at least 1")
	check(c.Watermark >= 0, "watermark must not be negative")
	check(c.Watermark <= 12*time.Hour, "watermark must be at most 12h: everything since then is kept in memory")
	check(c.SeriesExpiry >= 24*time.Hour, "series_expiry must be at least 24h")
	return errs
}

// maxClusters bounds the environment-hours that may still grow.
const maxClusters = 200_000

func (c *Config) limits() limits {
	return limits{
		spanHours:   hours(c.SpanMemory),
		spans:       c.MaxSpans,
		functions:   c.MaxFunctions,
		clusters:    maxClusters,
		expiryHours: hours(c.SeriesExpiry),
		watermark:   c.Watermark.Microseconds(),
	}
}

func hours(d time.Duration) int64 { return int64((d + time.Hour - 1) / time.Hour) }
