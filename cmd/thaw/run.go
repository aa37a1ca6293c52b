package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/layer"
)

// runOptions are the flags of `thaw run`.
type runOptions struct {
	name, runtime, handler string
	memoryMB               []int
	timeout, idle          time.Duration
	env                    map[string]string
	layers                 []string
	addr, otlp, ledger     string
	kind                   string
	concurrency            int
	bare                   bool
	profileOptions
	// ownLayerDir is where Thaw's layer was unpacked.
	ownLayerDir string
}

func newRunCmd() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FOLDER",
		Short: "Serve a function from a folder in a local Lambda",
		Long: `Run serves the function in FOLDER in a local Lambda until Ctrl-C: as real processes,
under Lambda's CPU and memory limits where this machine allows that, and with
Thaw's layer attached. It prints what CloudWatch would.

Invoke it with the AWS CLI or an AWS SDK, at the address that it prints, or with
curl. With several memory sizes, each is a version (1, 2, ...) with an alias
(128mb, 512mb, ...), and $LATEST is the first.

With --kind, the versions run in another kind of environment: in some that are
provisioned in advance, in copies of a snapshot, or on a managed instance that
serves several invocations at once. $LATEST stays on demand.

With --profile it does not serve: it starts the function cold, invokes it a few
times, and writes to --out where the init went, by package and module, and what to
change: report.html with a flame graph, report.md, report.json, and the profile for
other tools (init.pb.gz for go tool pprof, init.folded, init.speedscope.json).`,
		Example: `  thaw run --runtime nodejs --handler index.handler ./my-function
  thaw run --memory 512,1024,1769 ./my-go-function    # a folder with an executable bootstrap
  thaw run --kind snap-start ./my-go-function         # invoke it with ?Qualifier=1
  thaw run --profile --runtime nodejs --handler app.handler --payload event.json --out profile ./my-function
  curl -d '{}' http://127.0.0.1:9000/2015-03-31/functions/my-function/invocations`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.profile {
				return o.runProfile(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "name of the function (default: that of the folder)")
	f.StringVar(&o.runtime, "runtime", "", "nodejs, python or provided (default: provided where there is a bootstrap)")
	f.StringVar(&o.handler, "handler", "", "handler, such as index.handler")
	f.IntSliceVar(&o.memoryMB, "memory", []int{512}, "memory size in MB, 128 to 10240; several give several versions")
	f.DurationVar(&o.timeout, "timeout", 3*time.Second, "timeout of an invocation")
	f.DurationVar(&o.idle, "idle-timeout", emulator.DefaultIdleTimeout, "time after which an idle environment is reclaimed")
	f.StringToStringVar(&o.env, "env", nil, "environment variables of the function: NAME=VALUE")
	f.StringSliceVar(&o.layers, "layer", nil, "layers besides Thaw's: folders or zips, in order")
	f.StringVar(&o.kind, "kind", string(lifecycle.OnDemand), "kind of the versions' environments: on-demand, provisioned-concurrency, snap-start or lambda-managed-instances")
	f.IntVar(&o.concurrency, "concurrency", 2, "with --kind: environments to provision, or invocations at once on a managed instance")
	f.BoolVar(&o.bare, "bare", false, "do not attach Thaw's layer")
	f.StringVar(&o.addr, "addr", "127.0.0.1:9000", "address of the Invoke API")
	f.StringVar(&o.otlp, "otlp", "http://127.0.0.1:4318", "where the extension sends its spans; empty: nowhere")
	f.StringVar(&o.ledger, "ledger", "", "file for the record of what really happened, in JSON lines, written at the end")
	f.BoolVar(&o.profile, "profile", false, "profile a cold start instead of serving, and write the report to --out")
	f.StringVar(&o.payload, "payload", "", "with --profile: file with the event, in JSON (default: {})")
	f.StringVar(&o.out, "out", "", "with --profile: folder for the report and the profile")
	f.IntVar(&o.invocations, "invocations", 3, "with --profile: how often it is invoked, the cold start included")
	return cmd
}

func (o *runOptions) run(ctx context.Context, folder string, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "thaw-run-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // functions run as another user
		return err
	}
	function, err := o.function(ctx, folder, dir)
	if err != nil {
		return err
	}
	lambda := &emulator.Emulator{Addr: o.addr, Log: stdout, IdleTimeout: o.idle}
	if err := lambda.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lambda.Close(), o.writeLedger(lambda.Ledger())) }()
	for i, mb := range append(o.memoryMB[:1:1], o.memoryMB...) {
		function.MemoryMB = mb
		function.Version, function.Alias = emulator.LatestVersion, ""
		if i > 0 {
			function.Version, function.Alias = strconv.Itoa(i), fmt.Sprintf("%dmb", mb)
			if err := o.setKind(&function); err != nil {
				return err
			}
		}
		if err := lambda.AddFunction(function); err != nil {
			return usageError{err}
		}
	}
	fmt.Fprintf(stderr, "%s\nThe local Lambda serves %s until Ctrl-C. For example:\n  curl -d '{}' %s/2015-03-31/functions/%[2]s/invocations\n",
		lambda.Enforcement(), function.Name, lambda.URL())
	<-ctx.Done()
	return nil
}

// setKind makes f's environments of the kind that is asked for.
func (o *runOptions) setKind(f *emulator.Function) error {
	if o.concurrency < 1 {
		return usageError{fmt.Errorf("--concurrency of %d is not at least 1", o.concurrency)}
	}
	switch lifecycle.InitKind(o.kind) {
	case lifecycle.OnDemand:
	case lifecycle.ProvisionedConcurrency:
		f.ProvisionedConcurrency = o.concurrency
	case lifecycle.SnapStart:
		f.SnapStart = true
	case lifecycle.ManagedInstances:
		f.ManagedConcurrency = o.concurrency
	default:
		return usageError{fmt.Errorf("--kind %q is not on-demand, provisioned-concurrency, snap-start or lambda-managed-instances", o.kind)}
	}
	return nil
}

// function describes what is in the folder. What it needs besides goes to dir.
func (o *runOptions) function(ctx context.Context, folder, dir string) (emulator.Function, error) {
	f := emulator.Function{Name: o.name, Handler: o.handler, Timeout: o.timeout, Env: map[string]string{}}
	abs, err := filepath.Abs(folder)
	if err != nil {
		return f, err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return f, usageError{fmt.Errorf("%s is not a folder", folder)}
	}
	f.Dir = abs
	if f.Name == "" {
		f.Name = regexp.MustCompile(`[^a-zA-Z0-9-_]+`).ReplaceAllString(filepath.Base(abs), "-")
	}
	if err := o.bootstrap(ctx, &f, dir); err != nil {
		return f, err
	}
	if err := o.addLayers(&f, dir); err != nil {
		return f, err
	}
	if o.otlp != "" {
		f.Env["OTEL_EXPORTER_OTLP_ENDPOINT"] = o.otlp
	}
	for name, value := range o.env {
		f.Env[name] = value
	}
	return f, nil
}

// bootstrap finds out how the function is started. Interpreters get the small
// runtime client that comes with Thaw, from a layer of its own.
func (o *runOptions) bootstrap(ctx context.Context, f *emulator.Function, dir string) error {
	interpreter := map[string]string{"nodejs": "node", "python": "python3"}[strings.TrimRight(o.runtime, "0123456789.x")]
	switch {
	case interpreter != "" && o.handler == "":
		return usageError{fmt.Errorf("the runtime %s needs --handler, such as index.handler", o.runtime)}
	case interpreter != "":
	case o.runtime == "" || strings.HasPrefix(o.runtime, "provided"):
		if _, err := os.Stat(filepath.Join(f.Dir, "bootstrap")); errors.Is(err, fs.ErrNotExist) {
			return usageError{fmt.Errorf("there is no bootstrap in %s: name the --runtime (nodejs or python) and the --handler", f.Dir)}
		}
		f.Runtime = "provided.al2023"
		return nil
	default:
		return usageError{fmt.Errorf("the runtime %q is not nodejs, python or provided", o.runtime)}
	}
	found, err := examples.FindInterpreter(ctx, interpreter)
	if err != nil {
		return err
	}
	client := filepath.Join(dir, "runtime")
	path, err := examples.WriteRuntimeClient(interpreter, filepath.Join(client, "thaw-runtime"))
	if err != nil {
		return err
	}
	f.Layers = append(f.Layers, client)
	f.Runtime, f.Command = found.Runtime(), []string{found.Path, path}
	return nil
}

// addLayers attaches Thaw's layer, from beside this program, and the others.
func (o *runOptions) addLayers(f *emulator.Function, dir string) error {
	layers := o.layers
	if !o.bare {
		own, err := ownLayer()
		if err != nil {
			return err
		}
		layers = append([]string{own}, layers...)
	}
	for i, l := range layers {
		if info, err := os.Stat(l); err == nil && info.IsDir() {
			f.Layers = append(f.Layers, l)
			continue
		}
		unpacked := filepath.Join(dir, fmt.Sprintf("layer-%d", i))
		if err := layer.Unpack(l, unpacked); err != nil {
			return err
		}
		f.Layers = append(f.Layers, unpacked)
		if i == 0 && !o.bare {
			o.ownLayerDir = unpacked
		}
	}
	return nil
}

// ownLayer is the zip that make build puts beside this program.
func ownLayer() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("where Thaw's layer is: %w", err)
	}
	zip := layer.HostZip(filepath.Dir(self))
	if _, err := os.Stat(zip); err != nil {
		return "", fmt.Errorf("%s is not there: run `make build`, or use --bare to go without Thaw's layer", zip)
	}
	return zip, nil
}

func (o *runOptions) writeLedger(ledger *emulator.Ledger) (err error) {
	if o.ledger == "" {
		return nil
	}
	f, err := os.Create(o.ledger)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = ledger.WriteTo(f)
	return err
}
