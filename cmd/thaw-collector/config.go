package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"

	"github.com/thaw-lambda/thaw/collector/promapiextension"
)

//go:embed config.yaml
var configYAML string

//go:embed forward.yaml
var forwardYAML string

// Variables that are read here and not by the configuration.
const (
	envDataDir = "THAW_DATA_DIR"
	envForward = "THAW_FORWARD_ENDPOINT"
)

// dataDir returns where everything is kept, by the XDG Base Directory
// Specification if the user does not say.
func dataDir(env lookup) (string, error) {
	if dir, _ := env(envDataDir); dir != "" {
		return filepath.Abs(dir)
	}
	if dir, _ := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "thaw"), nil
	}
	home, _ := env("HOME")
	if !filepath.IsAbs(home) {
		return "", fmt.Errorf("there is no home directory to keep data in: set %s", envDataDir)
	}
	return filepath.Join(home, ".local", "state", "thaw"), nil
}

// defaultConfig returns what is run without --config: the later overrides the
// earlier.
func defaultConfig(env lookup) ([]string, error) {
	uris := []string{"yaml:" + configYAML}
	forward, _ := env(envForward)
	if forward == "" {
		return uris, nil
	}
	own := []string{"127.0.0.1:4318", "127.0.0.1:4317"}
	for i, name := range []string{"THAW_OTLP_HTTP_ENDPOINT", "THAW_OTLP_GRPC_ENDPOINT"} {
		if v, ok := env(name); ok {
			own[i] = v
		}
	}
	if err := checkForward(forward, own); err != nil {
		return nil, fmt.Errorf("%s: %w", envForward, err)
	}
	return append(uris, "yaml:"+forwardYAML), nil
}

// checkForward refuses to pass traces on to ourselves.
func checkForward(forward string, own []string) error {
	u, err := url.Parse(forward)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not like http://host:4318", forward)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for _, endpoint := range own {
		host, ownPort, err := net.SplitHostPort(endpoint)
		if err == nil && port == ownPort && sameHost(u.Hostname(), host) {
			return errors.New("it is this collector's own endpoint: traces would go round in circles")
		}
	}
	return nil
}

// sameHost takes all names of this machine that it knows for the same.
func sameHost(a, b string) bool { return a == b || isLocal(a) && isLocal(b) }

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// envProvider is the Collector's, with defaults for some variables.
type envProvider struct {
	confmap.Provider
	defaults map[string]string
}

func newEnvFactory(defaults map[string]string) confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		return envProvider{envprovider.NewFactory().Create(set), defaults}
	})
}

// Retrieve implements confmap.Provider.
func (p envProvider) Retrieve(ctx context.Context, uri string, watch confmap.WatcherFunc) (*confmap.Retrieved, error) {
	if v, ok := p.defaults[strings.TrimPrefix(uri, "env:")]; ok {
		return confmap.NewRetrieved(v)
	}
	return p.Provider.Retrieve(ctx, uri, watch)
}

// readyLine tells the addresses in one line that people and programs can read.
func readyLine(r promapiextension.Ready) string {
	get := func(path string) string {
		s, _ := r.Config.Get(path).(string)
		if s == "" {
			return "off"
		}
		return s
	}
	otlp := get("receivers::otlp::protocols::http::endpoint")
	if otlp != "off" {
		otlp = "http://" + otlp
	}
	return fmt.Sprintf("thaw-collector ready: OTLP %s, gRPC %s, Prometheus API %s, data %s",
		otlp, get("receivers::otlp::protocols::grpc::endpoint"), r.URL, filepath.Dir(get("connectors::coldstart::directory")))
}
