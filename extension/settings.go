package extension

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// Setting documents one environment variable.
type Setting struct {
	Name, Default, Text string
}

// Settings lists the environment variables that the extension reads:
// docs/config.md is generated from it.
func Settings() []Setting {
	var out []Setting
	for _, s := range settings() {
		out = append(out, s.Setting)
	}
	return out
}

// config is what the settings say.
type config struct {
	disabled bool
	// endpoint is where traces are posted; nil means nowhere.
	endpoint    *url.URL
	headers     http.Header
	timeout     time.Duration
	gzip        bool
	certificate string
	transport

	serviceName string
	attributes  map[string]string

	logLevel   zerolog.Level
	internal   bool
	xrayParent bool

	profileOff    bool
	treeBytes     int
	usageOff      bool
	flush         policy
	flushInterval time.Duration
	batchDelay    time.Duration
	queueSpans    int
	queueBytes    int
	shutdownWait  time.Duration
	spoolBytes    int
}

// setting is a Setting with the one place that reads it. The error of set says
// what is accepted; it never repeats the value, which may hold a secret.
type setting struct {
	Setting
	set func(*config, string) error
}

// settings is the table of all settings. Later ones win over earlier ones, as
// those for traces do over those for all signals.
func settings() []setting {
	return append(deliverySettings(), []setting{
		{Setting{"OTEL_EXPORTER_OTLP_ENDPOINT", "", "base URL of an OTLP/HTTP endpoint, http or https; traces go to its path v1/traces. Without an endpoint nothing is exported"}, setEndpoint("v1/traces")},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "URL that traces are posted to, used as it is"}, setEndpoint("")},
		{Setting{"OTEL_EXPORTER_OTLP_HEADERS", "", "headers of every request: name=value,name=value, values percent-encoded"}, setHeaders},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "", "the same for traces, instead of the above"}, setHeaders},
		{Setting{"OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "milliseconds that an export may take, 1 to 600000"}, setTimeout},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "", "the same for traces, instead of the above"}, setTimeout},
		{Setting{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "gzip or none"}, setCompression},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "", "the same for traces, instead of the above"}, setCompression},
		{Setting{"OTEL_EXPORTER_OTLP_CERTIFICATE", "", "path of a PEM file with the certificates to trust, instead of the system's"}, setString(func(c *config) *string { return &c.certificate })},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "", "the same for traces, instead of the above"}, setString(func(c *config) *string { return &c.certificate })},
		{Setting{"OTEL_RESOURCE_ATTRIBUTES", "", "resource attributes: name=value,name=value, values percent-encoded, at most 64"}, setAttributes},
		{Setting{"OTEL_SERVICE_NAME", "", "service.name of the spans; by default the name of the function"}, setString(func(c *config) *string { return &c.serviceName })},
		{Setting{"OTEL_SDK_DISABLED", "false", "true: nothing is observed or exported"}, setDisabled},
		{Setting{"THAW_DISABLED", "false", "true: nothing is observed or exported, by Thaw alone"}, setDisabled},
		{Setting{"THAW_LOG_LEVEL", "info", "what the extension writes to the function's log: debug, info, warn, error or off"}, setLogLevel},
		{Setting{"THAW_SPAN_KIND", "server", "kind of the invocation's span: server, or internal where an SDK in the function sends a SERVER span too"}, setChoice("server", "internal", func(c *config) *bool { return &c.internal })},
		{Setting{"THAW_TRACE_PARENT", "none", "xray: sampled invocations become children of the X-Ray segment; only for backends that have X-Ray's spans"}, setChoice("none", "xray", func(c *config) *bool { return &c.xrayParent })},
		{Setting{"THAW_USAGE", "on", "off: what the processes of the function use in an invocation (CPU time, run delay, memory, network) is not measured"}, setChoice("on", "off", func(c *config) *bool { return &c.usageOff })},
		{Setting{"THAW_FLUSH", "adaptive", "when telemetry is sent. It always goes out while an invocation runs, and at the shutdown. next: only then. end: every invocation waits after its run, 100 ms at most, until it has been sent itself, which is billed. interval: one invocation per THAW_FLUSH_INTERVAL does. adaptive: the first one and those of sparse traffic do, while all that waiting is less than 1 % of the billed time"}, setFlush},
		{Setting{"THAW_FLUSH_INTERVAL", "10s", "for THAW_FLUSH=interval, 1s to 1h"}, setDuration(time.Second, time.Hour, func(c *config) *time.Duration { return &c.flushInterval })},
		{Setting{"THAW_BATCH_DELAY", "1s", "how old the oldest invocation is when a batch is sent: busy functions send once per delay, 0 sends at once. At most 1m"}, setDuration(0, time.Minute, func(c *config) *time.Duration { return &c.batchDelay })},
		{Setting{"THAW_QUEUE_SPANS", "2048", "spans that may wait to be sent, 64 to 65536; beyond that the oldest go to the log, see THAW_SPOOL_BYTES"}, setInt(64, 65536, func(c *config) *int { return &c.queueSpans })},
		{Setting{"THAW_QUEUE_BYTES", "1048576", "their size in bytes, 65536 to 67108864"}, setInt(64<<10, 64<<20, func(c *config) *int { return &c.queueBytes })},
		{Setting{"THAW_PROFILE", "on", "whether hooks in the runtime profile the init and the extension reads what they wrote: on, off, or deep for what costs more"}, setProfile},
		{Setting{"THAW_PROFILE_TREE", "49152", "bytes that the whole profile of an init may have, compressed, 0 to 131072; beyond that its smallest modules are drawn together. 0: only times of packages are sent"}, setTreeBytes},
		{Setting{"THAW_SPOOL_BYTES", "1048576", "what may be written to the function's log, for `thaw import`, in one life of an environment, of what a full queue or a dead backend would lose: bytes, 0 for nothing, at most 67108864"}, setInt(0, 64<<20, func(c *config) *int { return &c.spoolBytes })},
		{Setting{"THAW_SHUTDOWN_WAIT", "300ms", "how long a shutdown waits for the last report of the platform, at most 1s"}, setDuration(0, time.Second, func(c *config) *time.Duration { return &c.shutdownWait })},
	}...)
}

// readConfig reads the settings from an environment. What cannot be read is
// told in problems, one line each, and has its default.
func readConfig(environ []string) (cfg config, problems []string) {
	env := lookup(environ)
	for _, s := range settings() {
		if s.Default != "" {
			if err := s.set(&cfg, s.Default); err != nil {
				problems = append(problems, fmt.Sprintf("default of %s: %v", s.Name, err))
			}
		}
		value := strings.TrimSpace(env(s.Name))
		if value == "" {
			continue
		}
		if err := s.set(&cfg, value); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", s.Name, err))
		}
	}
	if cfg.forward && cfg.endpoint != nil && cfg.logsURL() == "" {
		problems = append(problems, "THAW_LOGS: log lines are not forwarded: set OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, because it does not follow from the endpoint for traces")
	}
	if cfg.serviceName == "" {
		cfg.serviceName = cfg.attributes["service.name"]
	}
	return cfg, problems
}

// lookup returns a function like os.Getenv over environ.
func lookup(environ []string) func(string) string {
	return func(name string) string {
		for i := len(environ) - 1; i >= 0; i-- {
			if key, value, _ := strings.Cut(environ[i], "="); key == name {
				return value
			}
		}
		return ""
	}
}

func setEndpoint(path string) func(*config, string) error {
	return func(c *config, value string) error {
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
			return errors.New("not a URL like http://collector:4318 or https://otlp.example.com")
		}
		if path != "" {
			u = u.JoinPath(path)
		}
		c.endpoint = u
		return nil
	}
}

// reserved says whether a header makes the request what it is.
func reserved(name string) bool {
	switch name {
	case "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host",
		"Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func setHeaders(c *config, value string) error {
	headers := http.Header{}
	err := eachPair(value, func(i int, name, value string) error {
		name = http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return fmt.Errorf("entry %d has no valid header name", i)
		case reserved(name):
			return fmt.Errorf("entry %d: %s cannot be set", i, name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return fmt.Errorf("entry %d has control characters", i)
		}
		headers.Set(name, value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; it is name=value,name=value with percent-encoded values, and ignored as a whole", err)
	}
	c.headers = headers
	return nil
}

const (
	maxAttributes     = 64
	maxAttributeBytes = 1024
)

func setAttributes(c *config, value string) error {
	attributes := map[string]string{}
	err := eachPair(value, func(i int, name, value string) error {
		if len(name) > maxAttributeBytes || len(value) > maxAttributeBytes {
			return fmt.Errorf("entry %d is longer than %d bytes", i, maxAttributeBytes)
		}
		if attributes[name] = value; len(attributes) > maxAttributes {
			return fmt.Errorf("more than %d entries", maxAttributes)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; it is name=value,name=value with percent-encoded values, and ignored as a whole", err)
	}
	c.attributes = attributes
	return nil
}

// eachPair splits a list like name=value,name=value. Names and values are
// percent-decoded; empty entries are passed over.
func eachPair(list string, f func(i int, name, value string) error) error {
	i := 0
	for entry := range strings.SplitSeq(list, ",") {
		i++
		if strings.TrimSpace(entry) == "" {
			continue
		}
		rawName, rawValue, ok := strings.Cut(entry, "=")
		name, nameErr := url.PathUnescape(strings.TrimSpace(rawName))
		value, valueErr := url.PathUnescape(strings.TrimSpace(rawValue))
		if !ok || name == "" || nameErr != nil || valueErr != nil || !utf8.ValidString(name+value) {
			return fmt.Errorf("entry %d is not name=value", i)
		}
		if err := f(i, name, value); err != nil {
			return err
		}
	}
	return nil
}

func setTimeout(c *config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 600_000 {
		return errors.New("not a number of milliseconds from 1 to 600000")
	}
	c.timeout = time.Duration(n) * time.Millisecond
	return nil
}

func setCompression(c *config, value string) error {
	switch value {
	case "gzip", "none":
		c.gzip = value == "gzip"
		return nil
	}
	return errors.New("not gzip or none; gzip is used")
}

func setDisabled(c *config, value string) error {
	b, err := parseBool(value)
	c.disabled = c.disabled || b
	return err
}

func parseBool(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, errors.New("not true or false; false is used")
}

func setLogLevel(c *config, value string) error {
	switch value {
	case "debug", "info", "warn", "error":
		level, err := zerolog.ParseLevel(value)
		c.logLevel = level
		return err
	case "off":
		c.logLevel = zerolog.Disabled
		return nil
	}
	return errors.New("not debug, info, warn, error or off; info is used")
}

func setChoice(off, on string, field func(*config) *bool) func(*config, string) error {
	return func(c *config, value string) error {
		if value != off && value != on {
			return fmt.Errorf("not %s or %s; %s is used", off, on, off)
		}
		*field(c) = value == on
		return nil
	}
}

func setString(field func(*config) *string) func(*config, string) error {
	return func(c *config, value string) error {
		*field(c) = value
		return nil
	}
}

func setInt(low, high int, field func(*config) *int) func(*config, string) error {
	return func(c *config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < low || n > high {
			return fmt.Errorf("not a number from %d to %d", low, high)
		}
		*field(c) = n
		return nil
	}
}

func setDuration(low, high time.Duration, field func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d < low || d > high {
			return fmt.Errorf("not a duration like 300ms from %v to %v", low, high)
		}
		*field(c) = d
		return nil
	}
}

// isToken says whether s is a header name (RFC 9110, section 5.1).
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}
