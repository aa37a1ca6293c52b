package evidenceexporter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
)

// componentType is the name of the exporter in configurations.
const componentType = "evidence"

// NewFactory returns the factory of the evidence exporter.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		component.MustNewType(componentType),
		createDefaultConfig,
		exporter.WithTraces(createTraces, component.StabilityLevelAlpha),
	)
}

func createTraces(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
	return newExporter(cfg.(*Config), set.Logger), nil
}
