package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/evidence"
)

// evidenceSource is a source that keeps cold starts whole. A collector does, a
// Prometheus does not.
type evidenceSource interface {
	// ColdStarts lists what is kept of the functions with the names, of all if
	// there are none; nothing where no evidence is kept.
	ColdStarts(ctx context.Context, names []string) ([]evidence.ColdStart, error)
	// Trace returns one.
	Trace(ctx context.Context, id string) (ptrace.Traces, error)
}

var _ evidenceSource = (*Client)(nil)

// errNoEvidence says that the other side knows nothing of evidence.
var errNoEvidence = errors.New("no evidence is kept there")

// ColdStarts implements evidenceSource.
func (c *Client) ColdStarts(ctx context.Context, names []string) ([]evidence.ColdStart, error) {
	queries := []url.Values{{}}
	if len(names) > 0 {
		queries = nil
		for _, name := range names {
			queries = append(queries, url.Values{"function": {name}})
		}
	}
	var out []evidence.ColdStart
	for _, query := range queries {
		body, err := c.evidence(ctx, "", query)
		if errors.Is(err, errNoEvidence) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var list evidence.List
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, nil // a proxy's page: a store that is no collector of ours
		}
		out = append(out, list.ColdStarts...)
	}
	return out, nil
}

// Trace implements evidenceSource.
func (c *Client) Trace(ctx context.Context, id string) (ptrace.Traces, error) {
	body, err := c.evidence(ctx, "/"+url.PathEscape(id), nil)
	if err != nil {
		return ptrace.Traces{}, err
	}
	var u ptrace.ProtoUnmarshaler
	td, err := u.UnmarshalTraces(body)
	if err != nil {
		return td, fmt.Errorf("read cold start %s: %w", id, err)
	}
	return td, nil
}

func (c *Client) evidence(ctx context.Context, path string, query url.Values) ([]byte, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("the URL of the evidence cannot be read")
	}
	u = u.JoinPath(evidence.Path + path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client().Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &UnreachableError{c.Redacted(), err}
	}
	defer response.Body.Close()
	// Stores that are no collectors of ours answer all kinds of things.
	if response.StatusCode != http.StatusOK || strings.HasPrefix(response.Header.Get("Content-Type"), "text/") {
		return nil, errNoEvidence
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4*evidence.MaxTrace))
	if err != nil {
		return nil, fmt.Errorf("evidence of %s: %w", c.Redacted(), err)
	}
	return body, nil
}
