package coldstartconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
)

// componentType is the name of the connector in configurations.
const componentType = "coldstart"

// NewFactory returns the factory of the coldstart connector.
func NewFactory() connector.Factory {
	return connector.NewFactory(
		component.MustNewType(componentType),
		createDefaultConfig,
		connector.WithTracesToMetrics(createTracesToMetrics, component.StabilityLevelAlpha),
		connector.WithTracesToTraces(createTracesToTraces, component.StabilityLevelAlpha),
	)
}

func createTracesToMetrics(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Traces, error) {
	return newConnector(cfg.(*Config), set.ID.String(), set.Logger, next), nil
}

func createTracesToTraces(_ context.Context, set connector.Settings, _ component.Config, next consumer.Traces) (connector.Traces, error) {
	return &forward{log: set.Logger, next: next}, nil
}
