package collector

import (
	"errors"

	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"

	"github.com/thaw-lambda/thaw/collector/coldstartconnector"
	"github.com/thaw-lambda/thaw/collector/evidenceexporter"
	"github.com/thaw-lambda/thaw/collector/promapiextension"
	"github.com/thaw-lambda/thaw/collector/tsdbexporter"
)

// Factories returns the components of the distribution. The options are those
// of the promapi extension.
func Factories(opts ...promapiextension.Option) (otelcol.Factories, error) {
	var f otelcol.Factories
	var errs [5]error
	f.Receivers, errs[0] = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	f.Processors, errs[1] = otelcol.MakeFactoryMap[processor.Factory](
		batchprocessor.NewFactory(),
		memorylimiterprocessor.NewFactory(),
	)
	f.Exporters, errs[2] = otelcol.MakeFactoryMap[exporter.Factory](
		tsdbexporter.NewFactory(),
		evidenceexporter.NewFactory(),
		otlpexporter.NewFactory(),
		otlphttpexporter.NewFactory(),
	)
	f.Extensions, errs[3] = otelcol.MakeFactoryMap[extension.Factory](promapiextension.NewFactory(opts...))
	f.Connectors, errs[4] = otelcol.MakeFactoryMap[connector.Factory](coldstartconnector.NewFactory())
	f.Telemetry = otelconftelemetry.NewFactory()
	return f, errors.Join(errs[:]...)
}
