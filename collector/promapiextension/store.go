package promapiextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// store is the TSDB and what is known of its metrics.
type store struct {
	*tsdb.DB
	metadata metricMetadata
}

func openStore(cfg *Config, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(cfg.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("create directory of the store: %w", err)
	}
	o := tsdb.DefaultOptions()
	o.RetentionDuration = cfg.Retention.Milliseconds()
	o.MaxBytes = cfg.MaxBytes
	// As Prometheus does: larger blocks are cheaper to query, and retention
	// drops whole blocks.
	o.MaxBlockDuration = max(o.MinBlockDuration, o.RetentionDuration/10)
	o.WALCompression = compression.Snappy
	// The defaults of Prometheus are made for millions of series.
	o.StripeSize = 1 << 10
	o.HeadChunksWriteBufferSize = 512 << 10
	db, err := tsdb.Open(cfg.Directory, log, nil, o, nil)
	if err != nil {
		if strings.Contains(err.Error(), "lock DB directory") {
			err = fmt.Errorf("store %s is in use by another collector: stop that one, or set another directory: %w", cfg.Directory, err)
		}
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &store{DB: db, metadata: metricMetadata{byName: map[string]metadata.Metadata{}}}, nil
}

// AppenderV2 returns an appender that also notes the metadata of what is
// appended, which the TSDB itself does not keep.
func (s *store) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{s.DB.AppenderV2(ctx), &s.metadata}
}

type appender struct {
	storage.AppenderV2
	metadata *metricMetadata
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	a.metadata.note(opts.MetricFamilyName, opts.Metadata)
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
}

// metricMetadata answers /api/v1/metadata.
type metricMetadata struct {
	mu     sync.RWMutex
	byName map[string]metadata.Metadata
}

const maxMetadata = 10_000

func (m *metricMetadata) note(name string, md metadata.Metadata) {
	m.mu.RLock()
	known, ok := m.byName[name]
	m.mu.RUnlock()
	if name == "" || ok && known == md {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byName) < maxMetadata {
		m.byName[strings.Clone(name)] = md
	}
}

// ServeHTTP answers like Prometheus, whose own handler knows only metadata of
// what it scrapes.
func (m *metricMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		Type string `json:"type"`
		Help string `json:"help"`
		Unit string `json:"unit"`
	}
	limit := -1
	if s := r.FormValue("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			writeError(w, http.StatusBadRequest, "bad_data", errors.New("limit must be a number"))
			return
		}
		limit = n
	}
	only := r.FormValue("metric")
	data := map[string][]entry{}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for name, md := range m.byName {
		if only != "" && name != only {
			continue
		}
		if limit >= 0 && len(data) >= limit {
			break
		}
		data[name] = []entry{{string(md.Type), md.Help, md.Unit}}
	}
	writeData(w, data)
}

func writeData(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
}

func writeError(w http.ResponseWriter, code int, kind string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]any{"status": "error", "errorType": kind, "error": err.Error()})
}

// gate lets a number of queries run at once.
type gate chan struct{}

// GetMaxConcurrent implements promql.QueryTracker.
func (g gate) GetMaxConcurrent() int { return cap(g) }

// Insert implements promql.QueryTracker.
func (g gate) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case g <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Delete implements promql.QueryTracker.
func (g gate) Delete(int) { <-g }

// Close implements io.Closer.
func (g gate) Close() error { return nil }
