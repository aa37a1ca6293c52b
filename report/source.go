package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/report/stats"
)

// Source answers PromQL. [Client] is one over HTTP.
type Source interface {
	// Instant evaluates a query at one moment.
	Instant(ctx context.Context, query string, at time.Time) ([]Sample, error)
	// Times returns, per value of a label, the moments of a range at which a
	// query has a value.
	Times(ctx context.Context, query, label string, start, end time.Time, step time.Duration) (map[string][]time.Time, error)
}

// Sample is one series' value at one moment: a number or a histogram.
type Sample struct {
	Labels    map[string]string
	Value     float64
	Histogram *stats.Histogram
}

// Client asks the HTTP API of Prometheus, or of anything that speaks it. URL
// may carry a path, a user and a password: http://user:secret@mimir/prometheus.
type Client struct {
	URL string
	// HTTP is http.DefaultClient when nil.
	HTTP *http.Client
}

// maxAnswer bounds what is read of one answer. Ten thousand functions are
// about a tenth of it.
const maxAnswer = 1 << 30

// UnreachableError means that nothing answered at the URL at all.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s: %v", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Redacted returns the URL without user and password.
func (c *Client) Redacted() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// Instant implements [Source].
func (c *Client) Instant(ctx context.Context, query string, at time.Time) ([]Sample, error) {
	body, err := c.get(ctx, "query", url.Values{"query": {query}, "time": {unix(at)}})
	if err != nil {
		return nil, err
	}
	return parseVector(body)
}

// Times implements [Source].
func (c *Client) Times(ctx context.Context, query, label string, start, end time.Time, step time.Duration) (map[string][]time.Time, error) {
	body, err := c.get(ctx, "query_range", url.Values{
		"query": {query}, "start": {unix(start)}, "end": {unix(end)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	})
	if err != nil {
		return nil, err
	}
	return parseTimes(body, label)
}

func unix(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func (c *Client) get(ctx context.Context, endpoint string, values url.Values) ([]byte, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		// The error repeats the URL, which may hold a password.
		return nil, errors.New("the URL of the metrics cannot be read")
	}
	if u.Scheme == "" || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:8464", c.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/" + endpoint
	u.RawQuery = values.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client().Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, &UnreachableError{c.Redacted(), err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.Redacted(), err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %s", c.Redacted(), response.Status, refusal(body))
	}
	return body, nil
}

func (c *Client) client() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

// refusal returns what an answer other than 200 says in its error field, or
// its first line.
func refusal(body []byte) string {
	var answer struct{ Error string }
	if json.Unmarshal(body, &answer) == nil && answer.Error != "" {
		return answer.Error
	}
	line, _, _ := strings.Cut(string(body[:min(len(body), 200)]), "\n")
	return line
}
