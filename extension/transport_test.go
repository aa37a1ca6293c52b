package extension

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/mototest"
)

// TestJSON: the same spans, in JSON, compressed or not; the log still gets
// protobuf.
func TestJSON(t *testing.T) {
	for _, compression := range []string{"gzip", "none"} {
		var got ptrace.Traces
		b := newFakeBackend(t)
		b.answer = func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", r.Header.Get("Content-Type"))
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"full"}}`)
			return true
		}
		d := newDelivery(t, b.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_COMPRESSION="+compression)
		d.invoke(3)
		d.launch(context.Background())
		body, err := d.exporter.body(d.flying)
		if err != nil {
			t.Fatal(err)
		}
		if compression == "gzip" {
			body = inflate(t, body)
		}
		if got, err = new(ptrace.JSONUnmarshaler).UnmarshalTraces(body); err != nil || got.SpanCount() != 4 {
			t.Errorf("%d spans, %v", got.SpanCount(), err)
		}
		packed, err := d.exporter.compressed(d.flying)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(inflate(t, packed)); err != nil {
			t.Errorf("for the log: %v", err)
		}
		d.attempt(context.Background())
		if a := d.rec.account; a.SpansExported != 3 || a.SpansDropped != 1 {
			t.Errorf("account %+v", a)
		}
	}
}

func TestPartialSuccessJSON(t *testing.T) {
	f := func(answer string, rejected int64, message string) {
		t.Helper()
		if r, m := partialSuccessJSON([]byte(answer)); r != rejected || m != message {
			t.Errorf("%q: %d %q", answer, r, m)
		}
	}
	f(`{}`, 0, "")
	f(``, 0, "")
	f(`{"partialSuccess":{}}`, 0, "")
	f(`{"partialSuccess":{"rejectedSpans":"5","errorMessage":"no"}}`, 5, "no")
	f(`{"partialSuccess":{"rejectedSpans":7}}`, 7, "")
	f(`{"partialSuccess":{"rejectedSpans":"-7"}}`, 0, "")
	f(`{"partialSuccess":{"rejectedSpans":[]}}`, 0, "")
	f(`{"partialSuccess":3}`, 0, "")
}

func FuzzPartialSuccessJSON(f *testing.F) {
	f.Add([]byte(`{"partialSuccess":{"rejectedSpans":"5","errorMessage":"no"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if rejected, message := partialSuccessJSON(answer); rejected < 0 || len(message) > 256 {
			t.Errorf("%d, %d bytes", rejected, len(message))
		}
	})
}

// TestGRPCIsRefused: with what to set instead.
func TestGRPCIsRefused(t *testing.T) {
	cfg, problems := readConfig([]string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"})
	if len(problems) != 1 || !strings.Contains(problems[0], "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf") || !strings.Contains(problems[0], "4318") || cfg.json {
		t.Errorf("problems %q", problems)
	}
}

// certificate makes a certificate that signs itself, and returns the files of
// it and of its key.
func certificate(t *testing.T) (pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "thaw"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, pemFile(t, "CERTIFICATE", der), pemFile(t, "PRIVATE KEY", keyDER)
}

func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestClientCertificate: an endpoint that asks for a certificate gets it.
func TestClientCertificate(t *testing.T) {
	pool, certFile, keyFile := certificate(t)
	b := newFakeBackend(t)
	server := httptest.NewUnstartedServer(b)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	server.Config.ErrorLog = discard()
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := "OTEL_EXPORTER_OTLP_CERTIFICATE=" + pemFile(t, "CERTIFICATE", server.Certificate().Raw)
	d := newDelivery(t, server.URL, ca, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="+certFile, "OTEL_EXPORTER_OTLP_CLIENT_KEY="+keyFile)
	if settled, _ := d.attempt(t.Context()); !settled || len(b.observations()) != 1 {
		t.Errorf("settled %v, log:\n%s", settled, d.log)
	}
	d = newDelivery(t, server.URL, ca)
	if settled, _ := d.attempt(t.Context()); settled {
		t.Error("it was taken without a certificate")
	}
	cfg, _ := readConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CLIENT_KEY=/does/not/exist"})
	if e, err := newExporter(&cfg, lookup(nil)); e == nil || err == nil || !strings.Contains(err.Error(), "CLIENT_CERTIFICATE") {
		t.Errorf("error %v", err)
	}
}

// TestIPv6: an endpoint may be an address in brackets.
func TestIPv6(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		// Not every machine has it, and then nobody has such an endpoint there.
		cfg, problems := readConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://[::1]:4318"})
		if len(problems) != 0 || cfg.endpoint.String() != "http://[::1]:4318/v1/traces" {
			t.Errorf("endpoint %v, problems %v", cfg.endpoint, problems)
		}
		return
	}
	b := newFakeBackend(t)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: b}}
	server.Start()
	t.Cleanup(server.Close)
	d := newDelivery(t, server.URL)
	if settled, _ := d.attempt(t.Context()); !settled || len(b.observations()) != 1 {
		t.Errorf("settled %v, log:\n%s", settled, d.log)
	}
}

// TestProxy: HTTP_PROXY, HTTPS_PROXY and NO_PROXY are those of every other
// program. net/http reads them once a process, so each case is one.
func TestProxy(t *testing.T) {
	if os.Getenv("THAW_TEST_PROXY") != "" {
		cfg, _ := readConfig(os.Environ())
		e, err := newExporter(&cfg, lookup(nil))
		if err != nil {
			t.Fatal(err)
		}
		out := e.send(t.Context(), &batch{}, []byte("x"))
		fmt.Println("outcome:", out.err)
		e.close()
		return
	}
	asked := make(chan string, 16)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(proxy.Close)
	for _, test := range []struct{ endpoint, variable, noProxy, want string }{
		{"http://collector.invalid:4318", "HTTP_PROXY", "", "POST collector.invalid:4318"},
		{"https://collector.invalid", "HTTPS_PROXY", "", "CONNECT collector.invalid:443"},
		{"https://collector.invalid", "HTTPS_PROXY", "other.invalid,.invalid", ""},
		{"http://collector.invalid", "HTTPS_PROXY", "", ""},
		{"http://127.0.0.1:1", "HTTP_PROXY", "", ""},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$", "-test.v")
		cmd.Env = []string{
			"THAW_TEST_PROXY=1", "OTEL_EXPORTER_OTLP_ENDPOINT=" + test.endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=2000",
			test.variable + "=" + proxy.URL, "NO_PROXY=" + test.noProxy,
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := ""
		if len(asked) > 0 {
			got = <-asked
		}
		if got != test.want || len(asked) != 0 {
			t.Errorf("%+v: the proxy was asked for %q\n%s", test, got, out)
		}
	}
}

func TestSecretHeaderSettings(t *testing.T) {
	secret := "arn:aws:secretsmanager:eu-west-1:123456789012:secret:otlp/key-AbCdEf"
	cfg, problems := readConfig([]string{"THAW_SECRET_HEADERS=x-key=" + secret + "#token, Authorization=Bearer%20arn:aws-cn:ssm:cn-north-1:123456789012:parameter/a/b"})
	want := []secretHeader{
		{name: "x-key", arn: secret, key: "token", service: "secretsmanager", region: "eu-west-1", partition: "aws"},
		{name: "Authorization", prefix: "Bearer ", arn: "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/a/b", service: "ssm", region: "cn-north-1", partition: "aws-cn"},
	}
	if len(problems) != 0 || fmt.Sprint(cfg.secrets) != fmt.Sprint(want) {
		t.Errorf("%+v, problems %q", cfg.secrets, problems)
	}
	s := &secrets{env: lookup(nil)}
	for i, endpoint := range []string{"https://secretsmanager.eu-west-1.amazonaws.com/", "https://ssm.cn-north-1.amazonaws.com.cn/"} {
		if got := s.endpoint(want[i]); got != endpoint {
			t.Errorf("endpoint %s", got)
		}
	}
	for _, bad := range []string{
		"secret", "x-key", "x-key=secret", "=" + secret, "content-type=" + secret, "x y=" + secret, "x=a%0d%0ab" + secret,
		"x=arn:aws:s3:eu-west-1:123456789012:secret:secret", "x=arn:aws:ssm:eu.west/:123456789012:parameter/secret", "x=arn:aws:ssm:eu-west-1:123456789012:secret",
	} {
		if _, problems := readConfig([]string{"THAW_SECRET_HEADERS=" + bad}); len(problems) != 1 || strings.Contains(strings.TrimPrefix(problems[0], "THAW_SECRET_HEADERS: "), "secret:secret") {
			t.Errorf("%s: problems %q", bad, problems)
		}
	}
}

// aws makes one call of AWS's JSON protocol, as an administrator would.
func awsCall(t *testing.T, endpoint, target string, in any) (out map[string]any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	service := map[bool]string{true: "secretsmanager", false: "ssm"}[strings.HasPrefix(target, "secretsmanager")]
	req, err := http.NewRequest(http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(answer, &out) != nil {
		t.Fatalf("%s: %s: %s %v", target, res.Status, answer, err)
	}
	return out
}

// TestSecretsFromAWS: against a real server of AWS's APIs.
func TestSecretsFromAWS(t *testing.T) {
	aws := mototest.Start(t)
	arn := awsCall(t, aws, "secretsmanager.CreateSecret", map[string]string{"Name": "otlp/key", "SecretString": `{"token":"first","n":1}`})["ARN"].(string)
	awsCall(t, aws, "AmazonSSM.PutParameter", map[string]string{"Name": "/otlp/token", "Value": "from-ssm", "Type": "SecureString"})
	account := strings.Split(arn, ":")[4]
	parameter := "arn:aws:ssm:us-east-1:" + account + ":parameter/otlp/token"

	b := newFakeBackend(t)
	accept := "first"
	b.answer = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Key") != accept || r.Header.Get("Authorization") != "Bearer from-ssm" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	newWithSecrets := func(headers string, environ ...string) *delivery {
		d := newDelivery(t, b.URL, "THAW_SECRET_HEADERS="+headers)
		cfg, _ := readConfig([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + b.URL, "THAW_SECRET_HEADERS=" + headers})
		e, err := newExporter(&cfg, lookup(append(environ, mototest.Environ(aws)...)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.close)
		d.exporter = e
		return d
	}
	d := newWithSecrets("x-key=" + arn + "#token,authorization=Bearer%20" + parameter)
	for range 2 {
		if settled, _ := d.attempt(t.Context()); !settled || d.failures != 0 {
			t.Fatalf("not delivered; log:\n%s", d.log)
		}
		d.invoke(1)
	}
	if len(b.observations()) != 2 {
		t.Errorf("%d observations", len(b.observations()))
	}

	// The secret is replaced: what is refused is tried again with the new one,
	// but not as long as the old one is young.
	awsCall(t, aws, "secretsmanager.PutSecretValue", map[string]string{"SecretId": arn, "SecretString": `{"token":"second"}`})
	accept = "second"
	d.attempt(t.Context())
	if a := d.rec.account; a.SpansDropped != 1 {
		t.Errorf("account %+v", a)
	}
	d.invoke(1)
	d.exporter.secrets.read = time.Now().Add(-2 * secretLife)
	if settled, _ := d.attempt(t.Context()); settled {
		t.Error("not tried again")
	}
	if settled, _ := d.attempt(t.Context()); !settled || len(b.observations()) != 3 {
		t.Errorf("%d observations; log:\n%s", len(b.observations()), d.log)
	}

	// What cannot be read is told without its value, and nothing is sent.
	for headers, want := range map[string]string{
		"x-key=" + arn + "#missing": "no such key",
		"x-key=" + arn + "#n":       "no such key",
		"x-key=arn:aws:secretsmanager:us-east-1:" + account + ":secret:none-AbCdEf": "ResourceNotFoundException",
		"x-key=arn:aws:ssm:us-east-1:" + account + ":parameter/none":                "ParameterNotFound",
	} {
		before := b.count()
		d := newWithSecrets(headers)
		if settled, _ := d.attempt(t.Context()); settled || !strings.Contains(d.log.String(), want) || strings.Contains(d.log.String(), "second") {
			t.Errorf("%s: settled %v, log:\n%s", headers, settled, d.log)
		}
		if b.count() != before {
			t.Errorf("%s: a request was made", headers)
		}
	}
}

// TestSnapStartCredentials: after a restore they are behind a URL.
func TestSnapStartCredentials(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"AccessKeyID":"id","SecretAccessKey":"key","Token":"session"}`)
	}))
	t.Cleanup(server.Close)
	s := &secrets{http: secretsClient(), env: lookup([]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + server.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN=token"})}
	if c, err := s.credentials(t.Context()); err != nil || c.AccessKeyID != "id" || c.SecretAccessKey != "key" || c.SessionToken != "session" {
		t.Errorf("%v, %v", c.AccessKeyID, err)
	}
	s.env = lookup(nil)
	if _, err := s.credentials(t.Context()); err == nil {
		t.Error("no error without credentials")
	}
}

func inflate(t *testing.T, packed []byte) []byte {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzSecretHeaders: whatever is set, what comes out is a legal header and a
// host of AWS.
func FuzzSecretHeaders(f *testing.F) {
	f.Add("x-key=arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-b#c")
	f.Add("a=Bearer%20arn:aws-cn:ssm:x:1:parameter/a,b=arn:")
	f.Fuzz(func(t *testing.T, value string) {
		var c config
		if setSecretHeaders(&c, value) != nil {
			return
		}
		s := &secrets{env: lookup(nil)}
		for _, h := range c.secrets {
			u, err := url.Parse(s.endpoint(h))
			if err != nil || !isToken(h.name) || strings.ContainsAny(h.prefix, "\r\n\x00") || !strings.HasSuffix(strings.TrimSuffix(u.Host, ".cn"), ".amazonaws.com") {
				t.Errorf("%q: %+v, %v", value, h, u)
			}
		}
	})
}
