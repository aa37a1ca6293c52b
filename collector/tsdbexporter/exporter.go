// Package tsdbexporter is an OpenTelemetry Collector exporter: metrics into the
// Prometheus TSDB that the promapi extension holds.
//
// Names and labels are those of Prometheus's own OTLP translation with the
// strategy UnderscoreEscapingWithSuffixes, so that the embedded store and a
// Prometheus that is sent the same metrics answer the same queries. Resource
// attributes and scopes become no labels: what is to be one stands on the data
// points. Exponential histograms become native histograms.
//
// What the store cannot take is an error, never a silent loss: the rest of the
// batch is stored, and whoever sent it is told to send it again. There is no
// queue, so that an accepted batch can be queried.
package tsdbexporter

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
)

// store is an extension that holds a TSDB.
type store interface {
	AppenderV2(context.Context) storage.AppenderV2
}

// tsdbExporter is the component.
type tsdbExporter struct {
	cfg   *Config
	log   *zap.Logger
	store store
}

// Start finds the store.
func (e *tsdbExporter) Start(_ context.Context, host component.Host) error {
	ext, ok := host.GetExtensions()[e.cfg.Store]
	if !ok {
		return fmt.Errorf("extension %q is not among service::extensions: it holds the store", e.cfg.Store)
	}
	if e.store, ok = ext.(store); !ok {
		return fmt.Errorf("extension %q holds no store", e.cfg.Store)
	}
	return nil
}

// Shutdown implements component.Component. The store is closed by its owner.
func (e *tsdbExporter) Shutdown(context.Context) error { return nil }

// Capabilities says that metrics are only read.
func (e *tsdbExporter) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// ConsumeMetrics stores md. When it returns nil, that can be queried.
func (e *tsdbExporter) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	app := &tolerantAppender{AppenderV2: e.store.AppenderV2(ctx)}
	_, err := prometheusremotewrite.NewPrometheusConverter(app).FromMetrics(ctx, md, prometheusremotewrite.Settings{
		DisableTargetInfo: true,
		AddMetricSuffixes: true,
	})
	if ctxErr := ctx.Err(); ctxErr != nil {
		return errors.Join(ctxErr, app.Rollback())
	}
	if commitErr := app.Commit(); commitErr != nil {
		return fmt.Errorf("store metrics: %w", errors.Join(commitErr, err))
	}
	if app.failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d samples, the first of %s: %w", app.failed, app.samples, app.first, app.err))
	}
	if err != nil {
		e.log.Warn("The store did not take everything", zap.Int("samples", app.samples), zap.Int("refused", app.failed), zap.Error(err))
		return fmt.Errorf("store metrics: %w", err)
	}
	return nil
}

// tolerantAppender goes on after a sample that is refused, and remembers how
// many were.
type tolerantAppender struct {
	storage.AppenderV2
	samples, failed int
	first           string
	err             error
}

// Append implements storage.AppenderV2.
func (a *tolerantAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	a.samples++
	ref, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	if err != nil {
		if a.failed++; a.err == nil {
			a.first, a.err = ls.String(), err
		}
	}
	return ref, nil
}
