package evidenceexporter

import (
	"errors"

	"go.opentelemetry.io/collector/component"
)

// Config of the exporter.
type Config struct {
	// Directory keeps the traces. It is created, and belongs to one collector
	// at a time. Required.
	Directory string `mapstructure:"directory"`
	// Slowest and Newest are how many cold starts are kept of each version of a
	// function.
	Slowest int `mapstructure:"slowest"`
	Newest  int `mapstructure:"newest"`
	// Versions is how many versions of a function are kept, the newest.
	Versions int `mapstructure:"versions"`
	// MaxBytes bounds all files together. Beyond it the oldest go.
	MaxBytes int64 `mapstructure:"max_bytes"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{Slowest: 3, Newest: 3, Versions: 4, MaxBytes: 256 << 20}
}

// Validate says everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs error
	check := func(ok bool, message string) {
		if !ok {
			errs = errors.Join(errs, errors.New(message))
		}
	}
	check(c.Directory != "", "directory must be set, to where traces of cold starts are kept")
	check(c.Slowest >= 0 && c.Slowest <= 100, "slowest must be from 0 to 100")
	check(c.Newest >= 1 && c.Newest <= 100, "newest must be from 1 to 100")
	check(c.Versions >= 1 && c.Versions <= 100, "versions must be from 1 to 100")
	check(c.MaxBytes >= 1<<20, "max_bytes must be at least 1048576")
	return errs
}
