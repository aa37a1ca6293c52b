package promapiextension

import (
	"context"
	"net/http"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"
)

// componentType is the name of the extension in configurations.
const componentType = "promapi"

// API is how to ask the store: over HTTP, or in the same process.
type API struct {
	// URL is the base: append /api/v1/query.
	URL string
	// Handler serves the same without a connection.
	Handler http.Handler
}

// Ready says that the Collector is ready to receive.
type Ready struct {
	// URL is the base of the API, with the port it really listens on.
	URL string
	// Config is the configuration of the whole Collector.
	Config *confmap.Conf
}

// Option extends the extension.
type Option func(*options)

type options struct {
	mount func(API) http.Handler
	ready func(Ready)
}

// WithHandler mounts what mount returns at /, below the routes of the
// extension. It is called once, when the extension starts.
func WithHandler(mount func(API) http.Handler) Option {
	return func(o *options) { o.mount = mount }
}

// WithReady calls ready when all pipelines run.
func WithReady(ready func(Ready)) Option {
	return func(o *options) { o.ready = ready }
}

// NewFactory returns the factory of the promapi extension.
func NewFactory(opts ...Option) extension.Factory {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return extension.NewFactory(
		component.MustNewType(componentType),
		createDefaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return newExtension(cfg.(*Config), set, o), nil
		},
		component.StabilityLevelAlpha,
	)
}
