package extension

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/version"
)

const (
	// idleTimeout closes a connection before the load balancers of this world
	// do, of which some do so without a word.
	idleTimeout = 55 * time.Second
	// maxExportAnswer bounds what is read of a backend's answer.
	maxExportAnswer = 64 << 10
)

// exporter posts batches to an OTLP/HTTP endpoint.
type exporter struct {
	url     string
	logsURL string
	header  http.Header
	timeout time.Duration
	http    *http.Client
	gzip    bool
	json    bool
	secrets *secrets
	// zip is kept: a new one costs more memory than everything it compresses.
	// It belongs to the sender.
	zip *gzip.Writer
	buf bytes.Buffer
}

// newExporter prepares everything that costs CPU, the certificate roots before
// all: in the init there is more of it than in a small function's invocations.
// The exporter is usable even if there is an error, about the certificates.
func newExporter(cfg *config, env func(string) string) (*exporter, error) {
	e := &exporter{
		json:    cfg.json,
		url:     cfg.endpoint.String(),
		logsURL: cfg.logsURL(),
		header:  http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"thaw-extension/" + version.String()}},
		timeout: cfg.timeout,
	}
	for name, values := range cfg.headers {
		e.header[name] = values
	}
	if cfg.gzip {
		e.header["Content-Encoding"] = []string{"gzip"}
		e.gzip = true
	}
	// net/http makes an unanswered POST again on a connection that was closed
	// under it only if told that this is safe. An empty value is not sent.
	e.header["Idempotency-Key"] = []string{}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         new(net.Dialer).DialContext, // the attempt has a timeout
		DisableCompression:  true,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     idleTimeout,
	}
	if cfg.json {
		e.header["Content-Type"] = []string{"application/json"}
	}
	var err error
	if cfg.endpoint.Scheme == "https" {
		transport.TLSClientConfig, err = tlsConfig(cfg)
	}
	if len(cfg.secrets) > 0 {
		e.secrets = &secrets{headers: cfg.secrets, env: env, http: secretsClient()}
	}
	e.http = &http.Client{
		Transport: transport,
		// A redirect would carry the headers, and so a key, somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, err
}

func tlsConfig(cfg *config) (*tls.Config, error) {
	roots, err := trusted(cfg.certificate)
	if err != nil {
		err = fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w; the system's certificates are used", err)
	}
	if roots == nil {
		// It is parsed here, or else at the first handshake. That it cannot be
		// read is told by the handshake.
		roots, _ = x509.SystemCertPool()
	}
	out := &tls.Config{RootCAs: roots}
	if cfg.clientCertificate == "" && cfg.clientKey == "" {
		return out, err
	}
	pair, pairErr := tls.LoadX509KeyPair(cfg.clientCertificate, cfg.clientKey)
	if pairErr != nil {
		return out, errors.Join(err, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY: %w; no certificate is sent", pairErr))
	}
	out.Certificates = []tls.Certificate{pair}
	return out, err
}

// secretsClient is for AWS: what the endpoint's certificate is signed by says
// nothing about theirs.
func secretsClient() *http.Client {
	roots, _ := x509.SystemCertPool() // what is wrong with it is told by the handshake
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func trusted(certificate string) (*x509.CertPool, error) {
	if certificate == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the file holds no certificate in PEM")
	}
	return roots, nil
}

func (e *exporter) close() { e.http.CloseIdleConnections() }

// outcome is what became of an attempt to export.
type outcome struct {
	// err is nil when the batch was acknowledged.
	err error
	// retry is whether another attempt may succeed, not before after.
	retry bool
	after time.Duration
	// rejected counts the spans that an acknowledgement left out.
	rejected int64
	message  string
	// broken is whether we broke the attempt off ourselves.
	broken bool
	// size is what was sent.
	size int64
}

// errPanicked is for an attempt that ended in a defect of ours.
var errPanicked = errors.New("a defect in thaw")

// send makes one attempt. It is done by a goroutine of its own and touches
// nothing of the exporter that others change.
func (e *exporter) send(parent context.Context, b *batch, body []byte) outcome {
	ctx, cancel := withPatience(parent, e.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.urlOf(b), bytes.NewReader(body))
	if err != nil {
		return outcome{err: fmt.Errorf("make the request: %w", withoutURL(err))}
	}
	for name, values := range e.header {
		req.Header[name] = values
	}
	if err := e.secrets.add(ctx, req.Header); err != nil {
		return outcome{err: e.explain(ctx, err), retry: true, broken: parent.Err() != nil}
	}
	res, err := e.http.Do(req)
	if err != nil {
		return outcome{err: e.explain(ctx, withoutURL(err)), retry: true, broken: parent.Err() != nil}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxExportAnswer))
	if err != nil && res.StatusCode/100 == 2 {
		return outcome{err: fmt.Errorf("read the answer: %w", e.explain(ctx, err)), retry: true, broken: parent.Err() != nil}
	}
	out := judge(res, answer, int64(len(body)))
	if (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) && e.secrets.expire() {
		out.retry = true // the secret may have been replaced
	}
	return out
}

func (e *exporter) urlOf(b *batch) string {
	if b.logLines > 0 {
		return e.logsURL
	}
	return e.url
}

func (e *exporter) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", e.timeout)
	}
	return err
}

// body returns a batch as it is sent.
func (e *exporter) body(b *batch) ([]byte, error) {
	switch {
	case e.json:
		return e.bodyJSON(b)
	case e.gzip:
		return e.compressed(b)
	}
	return b.payload, nil
}

// bodyJSON is for backends that want JSON. What is kept is protobuf all the
// same, which is a third of the size and what the log takes.
func (e *exporter) bodyJSON(b *batch) ([]byte, error) {
	if b.logLines > 0 {
		return e.logsJSON(b)
	}
	traces, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(b.payload)
	if err != nil {
		return nil, err
	}
	body, err := new(ptrace.JSONMarshaler).MarshalTraces(traces)
	if err != nil || !e.gzip {
		return body, err
	}
	return e.compress(body)
}

func (e *exporter) logsJSON(b *batch) ([]byte, error) {
	logs, err := new(plog.ProtoUnmarshaler).UnmarshalLogs(b.payload)
	if err != nil {
		return nil, err
	}
	body, err := new(plog.JSONMarshaler).MarshalLogs(logs)
	if err != nil || !e.gzip {
		return body, err
	}
	return e.compress(body)
}

// compressed returns a batch under gzip.
func (e *exporter) compressed(b *batch) (out []byte, err error) {
	if b.encoded == nil {
		b.encoded, err = e.compress(b.payload)
	}
	return b.encoded, err
}

func (e *exporter) compress(payload []byte) ([]byte, error) {
	if e.zip == nil {
		e.zip, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level exists
	}
	e.buf.Reset()
	e.zip.Reset(&e.buf)
	if _, err := e.zip.Write(payload); err != nil {
		return nil, err
	}
	if err := e.zip.Close(); err != nil {
		return nil, err
	}
	// A copy: the transport may read the body of a request that was given up
	// for a while longer.
	return bytes.Clone(e.buf.Bytes()), nil
}

// judge reads an answer. OTLP/HTTP names the statuses that may be tried again.
func judge(res *http.Response, answer []byte, size int64) outcome {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return outcome{err: fmt.Errorf("status %d", res.StatusCode), retry: true, after: retryAfter(res)}
	}
	if res.StatusCode/100 != 2 {
		return outcome{err: fmt.Errorf("status %d", res.StatusCode)}
	}
	read := partialSuccess
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		read = partialSuccessJSON
	}
	rejected, message := read(answer)
	return outcome{rejected: rejected, message: message, size: size}
}

// maxRetryAfter bounds what a backend can ask for.
const maxRetryAfter = 5 * time.Minute

func retryAfter(res *http.Response) time.Duration {
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return min(max(time.Duration(seconds), 0)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// withoutURL strips the URL that net/http puts into its errors: it may hold a
// user's name or a key.
func withoutURL(err error) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		return urlError.Err
	}
	return err
}
