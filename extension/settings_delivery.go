package extension

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// transport is what the settings say about how telemetry is sent.
type transport struct {
	json              bool
	clientCertificate string
	clientKey         string
	secrets           []secretHeader
	// forward is whether the lines of the function's log are sent too, to
	// logs; nil means to where the traces go, with v1/logs for v1/traces.
	forward bool
	logs    *url.URL
}

// logsURL is where log lines are posted to.
func (c *config) logsURL() string {
	switch base, ok := strings.CutSuffix(c.endpoint.String(), "/v1/traces"); {
	case c.logs != nil:
		return c.logs.String()
	case ok:
		return base + "/v1/logs"
	}
	return ""
}

// deliverySettings are those of the transport.
func deliverySettings() []setting {
	certificate := setString(func(c *config) *string { return &c.clientCertificate })
	key := setString(func(c *config) *string { return &c.clientKey })
	return []setting{
		{Setting{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "http/protobuf or http/json; gRPC is not built in, because it would double the size and the start of the extension"}, setProtocol},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", "the same for traces, instead of the above"}, setProtocol},
		{Setting{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "", "path of a PEM file with the certificate by which the endpoint knows us"}, certificate},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "", "the same for traces, instead of the above"}, certificate},
		{Setting{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "", "path of a PEM file with its private key"}, key},
		{Setting{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "", "the same for traces, instead of the above"}, key},
		{Setting{"THAW_LOGS", "count", "count: log lines are counted and timed, their text stays where it is. forward: the lines of the function, not those of extensions, are also sent as OTLP log records, as parts of their invocation's trace. What cannot be delivered is not repeated: it is in the function's log"}, setChoice("count", "forward", func(c *config) *bool { return &c.forward })},
		{Setting{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "", "URL that log lines are posted to, used as it is; by default v1/logs of OTEL_EXPORTER_OTLP_ENDPOINT"}, setLogsEndpoint},
		{Setting{"THAW_SECRET_HEADERS", "", "headers whose values are in AWS Secrets Manager or in the SSM Parameter Store: name=ARN,name=ARN. Text before the ARN is put before the value (Authorization=Bearer%20arn:aws:...), #key after the ARN of a JSON secret picks one of its keys. They are read with the function's role before the first export, and again when the endpoint answers 401 or 403"}, setSecretHeaders},
	}
}

func setLogsEndpoint(c *config, value string) error {
	var logs config
	if err := setEndpoint("")(&logs, value); err != nil {
		return err
	}
	c.logs = logs.endpoint
	return nil
}

func setProtocol(c *config, value string) error {
	switch value {
	case "http/protobuf", "http/json":
		c.json = value == "http/json"
		return nil
	case "grpc":
		return errors.New("grpc is not built in, http/protobuf is used: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and OTEL_EXPORTER_OTLP_ENDPOINT to the OTLP/HTTP port, usually 4318 instead of 4317")
	}
	return errors.New("not http/protobuf or http/json; http/protobuf is used")
}

// secretHeader is a header whose value is somewhere else.
type secretHeader struct {
	name   string
	prefix string // of the value
	arn    string
	key    string // of a JSON secret, "" for all of it
	// service and region are those of the ARN, partition its second field.
	service, region, partition string
}

// parseSecretARN fills in what an ARN says.
func parseSecretARN(h *secretHeader, arn string) bool {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) != 6 || !strings.HasPrefix(fields[1], "aws") {
		return false
	}
	h.arn, h.partition, h.service, h.region = arn, fields[1], fields[2], fields[3]
	kind := map[string]string{"secretsmanager": "secret:", "ssm": "parameter/"}[h.service]
	name, ok := strings.CutPrefix(fields[5], kind)
	return kind != "" && ok && name != "" && isHostLabel(h.region)
}

// isHostLabel says whether s may be a part of a host's name: a region becomes
// one.
func isHostLabel(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func setSecretHeaders(c *config, value string) error {
	var secrets []secretHeader
	for i, entry := range strings.Split(value, ",") {
		name, rest, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if entry == "" {
			continue
		}
		text, err := url.PathUnescape(rest)
		at := strings.Index(text, "arn:")
		if !ok || err != nil || at < 0 || !isToken(name) || reserved(http.CanonicalHeaderKey(name)) || strings.ContainsAny(text, "\r\n\x00") {
			return fmt.Errorf("entry %d is not name=ARN of a secret or a parameter", i+1)
		}
		arn, key, _ := strings.Cut(text[at:], "#")
		h := secretHeader{name: name, prefix: text[:at], key: key}
		if !parseSecretARN(&h, arn) {
			return fmt.Errorf("entry %d has no ARN like arn:aws:secretsmanager:eu-west-1:123456789012:secret:name-AbCdEf or arn:aws:ssm:eu-west-1:123456789012:parameter/name", i+1)
		}
		secrets = append(secrets, h)
	}
	c.secrets = secrets
	return nil
}
