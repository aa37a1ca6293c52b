package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/report/stats"
)

// envelope is what every answer of the API comes in. It is decoded at once
// with what it holds, for answers may be of many megabytes.
type envelope[T any] struct {
	Status string
	Error  string
	Data   struct {
		ResultType string
		Result     []T
	}
}

func open[T any](body []byte, want string) ([]T, error) {
	var e envelope[T]
	err := json.Unmarshal(body, &e)
	switch {
	case e.Status == "error":
		return nil, fmt.Errorf("the query failed: %s", e.Error)
	case err == nil && e.Status != "success":
		return nil, errors.New("the answer is not that of a Prometheus API")
	case e.Data.ResultType != "" && e.Data.ResultType != want:
		return nil, fmt.Errorf("the answer is a %q, not a %s", e.Data.ResultType, want)
	case err != nil:
		return nil, fmt.Errorf("the answer is not the JSON of a Prometheus API: %w", err)
	}
	return e.Data.Result, nil
}

// parseVector decodes the answer to an instant query.
func parseVector(body []byte) ([]Sample, error) {
	rows, err := open[struct {
		Metric    map[string]string
		Value     *pair[number]
		Histogram *pair[apiHistogram]
	}](body, "vector")
	if err != nil {
		return nil, err
	}
	samples := make([]Sample, 0, len(rows))
	for _, row := range rows {
		s := Sample{Labels: row.Metric}
		switch {
		case row.Histogram != nil:
			h, err := row.Histogram.value.histogram()
			if err != nil {
				return nil, err
			}
			s.Histogram = &h
		case row.Value != nil:
			s.Value = float64(row.Value.value)
		default:
			return nil, errors.New("vector: a series without a value")
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// parseTimes decodes the answer to a range query, and keeps only when there
// were values.
func parseTimes(body []byte, label string) (map[string][]time.Time, error) {
	rows, err := open[struct {
		Metric map[string]string
		Values []pair[number]
	}](body, "matrix")
	if err != nil {
		return nil, err
	}
	times := map[string][]time.Time{}
	for _, row := range rows {
		for _, v := range row.Values {
			times[row.Metric[label]] = append(times[row.Metric[label]], v.at)
		}
	}
	return times, nil
}

// pair is a timestamp and a value, as [1700000000.123, value].
type pair[T any] struct {
	at    time.Time
	value T
}

func (p *pair[T]) UnmarshalJSON(data []byte) error {
	var at float64
	parts := []any{&at, &p.value}
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 2 || math.IsNaN(at) || math.Abs(at) > 1e12 {
		return errors.New("a sample is a timestamp and a value")
	}
	p.at = time.UnixMilli(int64(math.Round(at * 1000)))
	return nil
}

// number is a float in quotes.
type number float64

func (n *number) UnmarshalJSON(data []byte) error {
	text, err := strconv.Unquote(string(data))
	if err != nil {
		return fmt.Errorf("%q is not a number in quotes", data)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	*n = number(v)
	return nil
}

// apiHistogram is a native histogram as the API writes it.
type apiHistogram struct {
	Count, Sum number
	Buckets    []apiBucket
}

// apiBucket is [boundary rule, lower bound, upper bound, count].
type apiBucket struct {
	low, high, count float64
}

// UnmarshalJSON reads it by hand: a report of ten thousand functions has some
// millions of buckets, which reflection takes most of the time for.
func (b *apiBucket) UnmarshalJSON(data []byte) error {
	parts := strings.Split(strings.Trim(string(data), "[] \t\r\n"), ",")
	if len(parts) != 4 {
		return errors.New("a bucket has a rule, two bounds and a count")
	}
	for i, into := range []*float64{&b.low, &b.high, &b.count} {
		v, err := strconv.ParseFloat(strings.Trim(parts[i+1], "\" \t\r\n"), 64)
		if err != nil {
			return err
		}
		*into = v
	}
	return nil
}

// maxScale is the finest resolution of Prometheus's native histograms.
const maxScale = 8

// histogram turns the bounds, which are all that the API tells, back into
// bucket indices. Values below zero are counted as zero: no quantity of ours
// has any, but two clocks may disagree.
func (h apiHistogram) histogram() (stats.Histogram, error) {
	out := stats.Histogram{Count: float64(h.Count), Sum: float64(h.Sum), Buckets: make(map[int]float64, len(h.Buckets))}
	if math.IsNaN(out.Count) || out.Count < 0 || math.IsInf(out.Count, 0) || math.IsNaN(out.Sum) || math.IsInf(out.Sum, 0) {
		return out, errors.New("histogram: count or sum is not a number")
	}
	known := false
	for _, b := range h.Buckets {
		if math.IsNaN(b.count) || math.IsInf(b.count, 0) || b.count < 0 {
			return out, errors.New("histogram: a bucket has no count")
		}
		if !(b.low > 0) {
			out.Zero += b.count
			continue
		}
		if !(b.high > b.low) || math.IsInf(b.high, 1) {
			return out, fmt.Errorf("histogram: a bucket from %g to %g", b.low, b.high)
		}
		scale := int(math.Round(-math.Log2(math.Log2(b.high / b.low))))
		if !known {
			out.Scale, known = scale, true
		}
		if scale != out.Scale || scale > maxScale || scale < -10 {
			return out, errors.New("histogram: the buckets are not exponential; the store keeps classic histograms, which this report cannot read yet")
		}
		out.Buckets[int(math.Round(math.Log2(b.high)*math.Ldexp(1, scale)))] += b.count
	}
	return out, nil
}
