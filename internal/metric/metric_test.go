package metric

import (
	"testing"

	"github.com/prometheus/otlptranslator"
)

// The names that the report and the dashboards ask for have to be those that
// Prometheus's own translation produces.
func TestNamesAreThoseOfTheTranslator(t *testing.T) {
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	labels := otlptranslator.LabelNamer{}
	types := map[Kind]otlptranslator.MetricType{
		Counter:   otlptranslator.MetricTypeMonotonicCounter,
		Gauge:     otlptranslator.MetricTypeGauge,
		Histogram: otlptranslator.MetricTypeExponentialHistogram,
	}
	seen := map[string]bool{}
	for _, d := range All() {
		want, err := namer.Build(otlptranslator.Metric{Name: d.Name, Unit: d.Unit, Type: types[d.Kind]})
		if err != nil || d.Prometheus() != want {
			t.Errorf("%s: Prometheus() = %s, the translator says %s, %v", d.Name, d.Prometheus(), want, err)
		}
		if seen[want] {
			t.Errorf("%s is declared twice", want)
		}
		seen[want] = true
		for _, label := range append(Common(), d.Labels...) {
			if want, err := labels.Build(label); err != nil || Label(label) != want {
				t.Errorf("%s: Label(%q) = %s, the translator says %s, %v", d.Name, label, Label(label), want, err)
			}
		}
		if d.Text == "" || d.Kind == "" || d.Unit == "" {
			t.Errorf("%s is not fully declared", d.Name)
		}
	}
}
