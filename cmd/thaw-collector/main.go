// Thaw-collector receives what Thaw's Lambda extension sends, counts cold
// starts, keeps the counts in an embedded Prometheus store and answers PromQL.
//
// It is a distribution of the OpenTelemetry Collector: see package collector
// for its parts. Without --config it runs config.yaml of this folder, which
// these variables change:
//
//	THAW_DATA_DIR             where everything is kept; $XDG_STATE_HOME/thaw or ~/.local/state/thaw
//	THAW_OTLP_HTTP_ENDPOINT   127.0.0.1:4318
//	THAW_OTLP_GRPC_ENDPOINT   127.0.0.1:4317
//	THAW_HTTP_ENDPOINT        127.0.0.1:8464, the Prometheus API
//	THAW_FORWARD_ENDPOINT     OTLP/HTTP endpoint to pass traces on to; none
//	THAW_LOG_LEVEL            debug, info, warn or error; info
//
// OTEL_EXPORTER_OTLP_ENDPOINT is not among them on purpose: it is what makes
// programs send to a collector, such as this one, and would make a loop.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

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

const long = `thaw-collector receives what Thaw's Lambda extension sends, counts cold
starts, keeps the counts in an embedded Prometheus store and answers PromQL.

It is an OpenTelemetry Collector. Without --config it runs a built-in
configuration, printed by "thaw-collector example", which these variables
change:

  THAW_DATA_DIR             where everything is kept (%s)
  THAW_OTLP_HTTP_ENDPOINT   OTLP over HTTP (127.0.0.1:4318)
  THAW_OTLP_GRPC_ENDPOINT   OTLP over gRPC (127.0.0.1:4317)
  THAW_HTTP_ENDPOINT        Prometheus API (127.0.0.1:8464)
  THAW_FORWARD_ENDPOINT     OTLP/HTTP endpoint to pass traces on to (none)
  THAW_LOG_LEVEL            debug, info, warn or error (info)`

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
		Factories:      func() (otelcol.Factories, error) { return collector.Factories(ready) },
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
	cmd.Long = fmt.Sprintf(long, dir)
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
