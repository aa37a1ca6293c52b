package promapiextension

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config of the extension.
type Config struct {
	// Endpoint is the address the API listens on.
	Endpoint string `mapstructure:"endpoint"`
	// AllowedHosts are the host names by which the API may be asked, when it
	// listens on loopback: those of a reverse proxy in front, say.
	AllowedHosts []string `mapstructure:"allowed_hosts"`
	// Directory holds the store. It is created. Required.
	Directory string `mapstructure:"directory"`
	// Retention is how long samples are kept.
	Retention time.Duration `mapstructure:"retention"`
	// MaxBytes bounds the size of the blocks on disk; 0 is no bound.
	MaxBytes int64 `mapstructure:"max_bytes"`
	// Query bounds what a query may cost.
	Query QueryConfig `mapstructure:"query"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// QueryConfig bounds what a query may cost.
type QueryConfig struct {
	// Timeout of a query.
	Timeout time.Duration `mapstructure:"timeout"`
	// MaxConcurrency is how many run at once; others wait.
	MaxConcurrency int `mapstructure:"max_concurrency"`
	// MaxSamples is how many samples one may hold in memory.
	MaxSamples int `mapstructure:"max_samples"`
	// LookbackDelta is how old the last sample of a series may be. The
	// connector writes every series at least every four minutes.
	LookbackDelta time.Duration `mapstructure:"lookback_delta"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		Endpoint:  "127.0.0.1:8464",
		Retention: 15 * 24 * time.Hour,
		Query: QueryConfig{
			Timeout:        2 * time.Minute,
			MaxConcurrency: 8,
			MaxSamples:     20_000_000,
			LookbackDelta:  5 * time.Minute,
		},
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
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		errs = fmt.Errorf("endpoint must be host:port: %w", err)
	}
	check(c.Directory != "", "directory must be set, to where the store is kept")
	check(c.Retention >= 2*time.Hour, "retention must be at least 2h, the length of a block")
	check(c.MaxBytes >= 0, "max_bytes must not be negative")
	check(c.Query.Timeout > 0, "query::timeout must be above zero")
	check(c.Query.MaxConcurrency > 0, "query::max_concurrency must be above zero")
	check(c.Query.MaxSamples > 0, "query::max_samples must be above zero")
	check(c.Query.LookbackDelta >= 5*time.Minute, "query::lookback_delta must be at least 5m, or queries find gaps")
	return errs
}
