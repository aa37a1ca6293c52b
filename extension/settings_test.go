package extension

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

func TestSettingsDefaults(t *testing.T) {
	cfg, problems := readConfig(nil)
	if len(problems) != 0 {
		t.Errorf("the defaults have problems: %v", problems)
	}
	if cfg.endpoint != nil || cfg.disabled || !cfg.gzip || cfg.timeout != 10*time.Second || cfg.logLevel != zerolog.InfoLevel ||
		cfg.internal || cfg.xrayParent || cfg.batchDelay != time.Second || cfg.queueSpans != 2048 || cfg.queueBytes != 1<<20 ||
		cfg.shutdownWait != 300*time.Millisecond || cfg.flush != flushAdaptive || cfg.flushInterval != 10*time.Second || cfg.spoolBytes != 1<<20 {
		t.Errorf("config %+v", cfg)
	}
}

func TestSettingsAreDocumented(t *testing.T) {
	var names []string
	for _, s := range Settings() {
		if s.Text == "" || slices.Contains(names, s.Name) {
			t.Errorf("setting %+v", s)
		}
		names = append(names, s.Name)
	}
}

func TestSettings(t *testing.T) {
	f := func(environ string, check func(config) bool) {
		t.Helper()
		cfg, problems := readConfig(strings.Split(environ, "\n"))
		if len(problems) != 0 || !check(cfg) {
			t.Errorf("%s: %+v, problems %v", environ, cfg, problems)
		}
	}
	endpoint := func(want string) func(config) bool {
		return func(c config) bool { return c.endpoint.String() == want }
	}
	f("OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318", endpoint("http://collector:4318/v1/traces"))
	f("OTEL_EXPORTER_OTLP_ENDPOINT=https://otlp.example.com/base/", endpoint("https://otlp.example.com/base/v1/traces"))
	f("OTEL_EXPORTER_OTLP_ENDPOINT= http://collector:4318 ", endpoint("http://collector:4318/v1/traces"))
	f("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://collector:4318/in", endpoint("http://collector:4318/in"))
	f("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/\nOTEL_EXPORTER_OTLP_ENDPOINT=http://b:2", endpoint("http://a:1/"))
	f("OTEL_EXPORTER_OTLP_HEADERS=api-key=s%20e%2Cc,, x = 1 ", func(c config) bool {
		return c.headers.Get("Api-Key") == "s e,c" && c.headers.Get("X") == "1" && len(c.headers) == 2
	})
	f("OTEL_EXPORTER_OTLP_HEADERS=a=1\nOTEL_EXPORTER_OTLP_TRACES_HEADERS=b=2", func(c config) bool {
		return len(c.headers) == 1 && c.headers.Get("B") == "2"
	})
	f("OTEL_EXPORTER_OTLP_HEADERS=Authorization=Basic dXNlcjpwYXNz==", func(c config) bool {
		return c.headers.Get("Authorization") == "Basic dXNlcjpwYXNz=="
	})
	f("OTEL_EXPORTER_OTLP_TIMEOUT=250", func(c config) bool { return c.timeout == 250*time.Millisecond })
	f("OTEL_EXPORTER_OTLP_TIMEOUT=250\nOTEL_EXPORTER_OTLP_TRACES_TIMEOUT=99", func(c config) bool { return c.timeout == 99*time.Millisecond })
	f("OTEL_EXPORTER_OTLP_COMPRESSION=none", func(c config) bool { return !c.gzip })
	f("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", func(config) bool { return true })
	f("OTEL_RESOURCE_ATTRIBUTES=team=images,a%20b=c%3Dd,service.name=from-attributes", func(c config) bool {
		return c.attributes["team"] == "images" && c.attributes["a b"] == "c=d" && c.serviceName == "from-attributes"
	})
	f("OTEL_RESOURCE_ATTRIBUTES=service.name=x\nOTEL_SERVICE_NAME=y", func(c config) bool { return c.serviceName == "y" })
	f("OTEL_SDK_DISABLED=TRUE", func(c config) bool { return c.disabled })
	f("THAW_DISABLED=1\nOTEL_SDK_DISABLED=false", func(c config) bool { return c.disabled })
	f("THAW_LOG_LEVEL=off", func(c config) bool { return c.logLevel == zerolog.Disabled })
	f("THAW_SPAN_KIND=internal\nTHAW_TRACE_PARENT=xray", func(c config) bool { return c.internal && c.xrayParent })
	f("THAW_FLUSH=interval\nTHAW_FLUSH_INTERVAL=1m", func(c config) bool { return c.flush == flushInterval && c.flushInterval == time.Minute })
	f("THAW_FLUSH=end\nTHAW_SPOOL_BYTES=0", func(c config) bool { return c.flush == flushEnd && c.spoolBytes == 0 })
	f("THAW_BATCH_DELAY=0", func(c config) bool { return c.batchDelay == 0 })
	f("THAW_SPAN_KIND=internal\nTHAW_SPAN_KIND=server", func(c config) bool { return !c.internal })
}

// TestBadSettings: one line each that names the variable and never its value.
func TestBadSettings(t *testing.T) {
	for _, setting := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=tcp://secret:1", "OTEL_EXPORTER_OTLP_ENDPOINT=secret:4318", "OTEL_EXPORTER_OTLP_ENDPOINT=http://",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://user:secret@host:port", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=/secret",
		"OTEL_EXPORTER_OTLP_HEADERS=secret", "OTEL_EXPORTER_OTLP_HEADERS=a=secret%0d%0ax: y", "OTEL_EXPORTER_OTLP_HEADERS=a=%secret",
		"OTEL_EXPORTER_OTLP_HEADERS=content-type=secret", "OTEL_EXPORTER_OTLP_HEADERS=sec ret=secret", "OTEL_EXPORTER_OTLP_HEADERS==secret",
		"OTEL_EXPORTER_OTLP_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_TIMEOUT=0", "OTEL_EXPORTER_OTLP_COMPRESSION=zstd",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/xml", "OTEL_RESOURCE_ATTRIBUTES=secret",
		"OTEL_RESOURCE_ATTRIBUTES=a=%ff%fe", "OTEL_RESOURCE_ATTRIBUTES=a=" + strings.Repeat("secret", 300),
		"OTEL_RESOURCE_ATTRIBUTES=" + manyPairs(100), "THAW_DISABLED=secret",
		"THAW_LOG_LEVEL=secret", "THAW_SPAN_KIND=secret", "THAW_TRACE_PARENT=w3c", "THAW_FLUSH=secret", "THAW_FLUSH_INTERVAL=1ms", "THAW_SPOOL_BYTES=-1", "THAW_BATCH_DELAY=5",
		"THAW_BATCH_DELAY=2h", "THAW_QUEUE_SPANS=1", "THAW_QUEUE_BYTES=secret", "THAW_SHUTDOWN_WAIT=3s",
	} {
		cfg, problems := readConfig([]string{setting})
		name, _, _ := strings.Cut(setting, "=")
		if len(problems) != 1 || !strings.HasPrefix(problems[0], name+": ") || strings.Contains(problems[0], "secret") || strings.Contains(problems[0], "\n") {
			t.Errorf("%s: problems %q", setting, problems)
		}
		if want, _ := readConfig(nil); cfg.timeout != want.timeout || cfg.endpoint != nil || cfg.headers != nil || cfg.queueSpans != want.queueSpans {
			t.Errorf("%s: the default is not in force: %+v", setting, cfg)
		}
	}
}

func manyPairs(n int) string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, "k"+strings.Repeat("x", i)+"=v")
	}
	return strings.Join(pairs, ",")
}

// FuzzPairs: no value of a list makes a request or a span that is not legal.
func FuzzPairs(f *testing.F) {
	f.Add("a=b,c=d%20e")
	f.Add("a=%0d%0a")
	f.Add(",=,a=,%=")
	f.Fuzz(func(t *testing.T, list string) {
		var c config
		if setHeaders(&c, list) == nil {
			for name, values := range c.headers {
				if !isToken(name) || reserved(name) || strings.ContainsAny(values[0], "\r\n\x00") {
					t.Errorf("header %q: %q", name, values)
				}
			}
		}
		if setAttributes(&c, list) == nil {
			for name, value := range c.attributes {
				if name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) || len(value) > maxAttributeBytes {
					t.Errorf("attribute %q: %q", name, value)
				}
			}
		}
	})
}
