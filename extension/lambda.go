package extension

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// lambdaClient speaks the Extensions API and subscribes to the Telemetry API.
type lambdaClient struct {
	base string
	id   string
	http *http.Client
}

// newLambdaClient returns a client without a timeout: the process is frozen
// while it waits for the next event, possibly for hours.
func newLambdaClient(address string) *lambdaClient {
	return &lambdaClient{
		base: "http://" + address,
		http: &http.Client{Transport: &http.Transport{DisableCompression: true}},
	}
}

func (c *lambdaClient) close() { c.http.CloseIdleConnections() }

// statusError is an answer other than the one that was hoped for.
type statusError struct {
	doing  string
	status int
	body   lambdaapi.ErrorBody
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: status %d %s %s", e.doing, e.status, e.body.ErrorType, e.body.ErrorMessage)
}

// register registers for events and remembers the identifier.
func (c *lambdaClient) register(ctx context.Context, name string, events ...string) (lambdaapi.RegisterResponse, error) {
	var res lambdaapi.RegisterResponse
	header := http.Header{
		lambdaapi.HeaderExtensionName: {name},
		lambdaapi.HeaderAcceptFeature: {lambdaapi.FeatureAccountID},
	}
	if events == nil {
		events = []string{}
	}
	got, err := c.call(ctx, "register", http.MethodPost, lambdaapi.PathExtensionRegister, header, lambdaapi.RegisterRequest{Events: events}, &res)
	if err != nil {
		return res, err
	}
	if c.id = got.Get(lambdaapi.HeaderExtensionIdentifier); c.id == "" {
		return res, errors.New("register: the answer has no identifier")
	}
	return res, nil
}

// next says that we are done and waits for what comes next.
func (c *lambdaClient) next(ctx context.Context) (lambdaapi.NextEvent, error) {
	var ev lambdaapi.NextEvent
	_, err := c.call(ctx, "next", http.MethodGet, lambdaapi.PathExtensionNext, c.identified(), nil, &ev)
	return ev, err
}

// Buffering of the subscription: the shortest and smallest that Lambda takes.
// What is not delivered before a freeze waits for the next invocation.
const (
	bufferItems = 1000
	bufferBytes = 262144
	bufferTime  = 25 * time.Millisecond
)

// subscribe asks for telemetry in the given version of the schema.
func (c *lambdaClient) subscribe(ctx context.Context, schema, uri string) error {
	req := lambdaapi.Subscription{
		SchemaVersion: schema,
		Types:         []string{lambdaapi.StreamPlatform, lambdaapi.StreamFunction, lambdaapi.StreamExtension},
		Buffering:     &lambdaapi.Buffering{MaxItems: bufferItems, MaxBytes: bufferBytes, TimeoutMs: int(bufferTime.Milliseconds())},
		Destination:   lambdaapi.Destination{Protocol: "HTTP", URI: uri},
	}
	_, err := c.call(ctx, "subscribe to telemetry", http.MethodPut, lambdaapi.PathTelemetry, c.identified(), req, nil)
	return err
}

func (c *lambdaClient) identified() http.Header {
	return http.Header{lambdaapi.HeaderExtensionIdentifier: {c.id}}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// call makes one request. Only 200 is a success: 202 is how the local emulator
// of AWS says that it has no Telemetry API.
func (c *lambdaClient) call(ctx context.Context, doing, method, path string, header http.Header, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	req.Header = header
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", doing, err)
	}
	if res.StatusCode != http.StatusOK {
		e := &statusError{doing: doing, status: res.StatusCode}
		_ = json.Unmarshal(answer, &e.body) // what is not JSON is not worth a line in the log
		return nil, e
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", doing, err)
	}
	return res.Header, nil
}
