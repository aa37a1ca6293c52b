// Thaw-collector receives what Thaw's Lambda extension sends, counts cold
// starts, keeps the counts in an embedded Prometheus store and answers PromQL.
//
// It is a distribution of the OpenTelemetry Collector: see package collector
// for its parts. Without --config it runs config.yaml of this folder, which the
// variables of [collector.Settings] change.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/otelcol"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/thaw-lambda/thaw/collector"
	"github.com/thaw-lambda/thaw/collector/promapiextension"
	"github.com/thaw-lambda/thaw/internal/version"
	"github.com/thaw-lambda/thaw/report"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// lookup is os.LookupEnv.
type lookup func(string) (string, bool)

// run returns the exit code: 0 after a shutdown that was asked for, 1 when
// something failed.
func run(ctx context.Context, args []string, env lookup, stdout, stderr io.Writer) int {
	cmd, err := newCommand(env, stderr)
	if err == nil {
		cmd.SetArgs(args)
		cmd.SetOut(stdout)
		cmd.SetErr(stderr)
		err = cmd.ExecuteContext(ctx)
	}
	if err != nil {
		fmt.Fprintf(stderr, "thaw-collector: %v\n", err)
		return 1
	}
	return 0
}

// long is the help text, with the folder that data goes to on this machine.
func long(dir string) string {
	var b strings.Builder
	b.WriteString(`thaw-collector receives what Thaw's Lambda extension sends, counts cold
starts, keeps the counts in an embedded Prometheus store, answers PromQL and
serves the report as a page.

It is an OpenTelemetry Collector. Without --config it runs a built-in
configuration, printed by "thaw-collector example", which these variables
change:
`)
	for _, s := range collector.Settings() {
		value := s.Default
		switch {
		case s.Name == envDataDir:
			value = dir
		case value == "":
			value = "none"
		}
		fmt.Fprintf(&b, "\n  %-24s  %s (%s)", s.Name, s.Text, value)
	}
	return b.String()
}

// page mounts the report, which asks the Prometheus API beside it.
func page() promapiextension.Option {
	return promapiextension.WithHandler(func(api promapiextension.API) http.Handler {
		client := &report.Client{URL: api.URL}
		mux := http.NewServeMux()
		mux.Handle("/{$}", report.Handler(func() report.Source { return client }, report.Options{}))
		return mux
	})
}

func newCommand(env lookup, stderr io.Writer) (*cobra.Command, error) {
	dir, err := dataDir(env)
	if err != nil {
		return nil, err
	}
	uris, err := defaultConfig(env)
	if err != nil {
		return nil, err
	}
	ready := promapiextension.WithReady(func(r promapiextension.Ready) {
		fmt.Fprintln(stderr, readyLine(r))
	})
	cmd := otelcol.NewCommand(otelcol.CollectorSettings{
		Factories:      func() (otelcol.Factories, error) { return collector.Factories(ready, page()) },
		LoggingOptions: []zap.Option{zap.WrapCore(func(c zapcore.Core) zapcore.Core { return plainCore{c} })},
		BuildInfo: component.BuildInfo{
			Command:     "thaw-collector",
			Description: "Thaw's OpenTelemetry Collector",
			Version:     version.String(),
		},
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs: uris,
			ProviderFactories: []confmap.ProviderFactory{
				newEnvFactory(map[string]string{envDataDir: dir}),
				fileprovider.NewFactory(),
				yamlprovider.NewFactory(),
			},
			DefaultScheme: "env",
		}},
	})
	cmd.Short = "Receive traces of Lambda functions, count cold starts, answer PromQL"
	cmd.Long = long(dir)
	cmd.Example = `  thaw-collector
  THAW_HTTP_ENDPOINT=127.0.0.1:9464 thaw-collector --config my.yaml
  curl 'http://127.0.0.1:8464/api/v1/query?query=faas_coldstarts_total'`
	cmd.Args = cobra.NoArgs
	cmd.SilenceErrors = true
	cmd.AddCommand(&cobra.Command{
		Use:   "example",
		Short: "Print the built-in configuration, to begin one's own from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), configYAML)
			return err
		},
	})
	return cmd, nil
}
