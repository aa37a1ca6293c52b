package tsdbexporter

import (
	"errors"

	"go.opentelemetry.io/collector/component"
)

// Config of the exporter.
type Config struct {
	// Store is the extension that holds the store.
	Store component.ID `mapstructure:"store"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{Store: component.MustNewID("promapi")}
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Store == (component.ID{}) {
		return errors.New("store must name an extension")
	}
	return nil
}
