package tsdbexporter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
)

// componentType is the name of the exporter in configurations.
const componentType = "tsdb"

// NewFactory returns the factory of the tsdb exporter.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType(componentType),
		createDefaultConfig,
		exporter.WithMetrics(createMetrics, component.StabilityLevelAlpha),
	)
}

func createMetrics(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
	return &tsdbExporter{cfg: cfg.(*Config), log: set.Logger}, nil
}
