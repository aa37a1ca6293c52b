package collector

import (
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
)

func TestFactories(t *testing.T) {
	f, err := Factories()
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s is not in the distribution", name)
		}
	}
	id := component.MustNewType
	check("otlp receiver", f.Receivers[id("otlp")] != nil)
	check("batch processor", f.Processors[id("batch")] != nil)
	check("memory_limiter processor", f.Processors[id("memory_limiter")] != nil)
	check("coldstart connector", f.Connectors[id("coldstart")] != nil)
	check("tsdb exporter", f.Exporters[id("tsdb")] != nil)
	check("evidence exporter", f.Exporters[id("evidence")] != nil)
	check("otlp_http exporter", f.Exporters[id("otlp_http")] != nil)
	check("otlphttp exporter, its old name", f.Exporters[id("otlphttp")] != nil)
	check("otlp exporter", f.Exporters[id("otlp")] != nil)
	check("promapi extension", f.Extensions[id("promapi")] != nil)
	check("telemetry", f.Telemetry != nil)
	for _, cfg := range []component.Config{
		f.Connectors[id("coldstart")].CreateDefaultConfig(),
		f.Exporters[id("tsdb")].CreateDefaultConfig(),
		f.Exporters[id("evidence")].CreateDefaultConfig(),
		f.Extensions[id("promapi")].CreateDefaultConfig(),
	} {
		if err := componenttest.CheckConfigStruct(cfg); err != nil {
			t.Error(err)
		}
	}
}
