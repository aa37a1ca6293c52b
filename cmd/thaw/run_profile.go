package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/collectorproc"
	"github.com/thaw-lambda/thaw/report"
)

// profileOptions are the flags of `thaw run` that belong to --profile.
type profileOptions struct {
	profile     bool
	payload     string
	out         string
	invocations int
}

// runProfile starts the function cold in a local Lambda, invokes it a few
// times, and writes what its init went to. The way is the same as on AWS: hook,
// extension, collector, report.
func (o *runOptions) runProfile(ctx context.Context, folder string, stdout, stderr io.Writer) (err error) {
	payload, err := o.readPayload()
	if err != nil {
		return err
	}
	switch {
	case o.bare:
		return usageError{errors.New("--profile needs Thaw's layer: leave out --bare")}
	case o.invocations < 1 || o.invocations > 1000:
		return usageError{errors.New("--invocations is from 1 to 1000")}
	case o.out == "":
		return usageError{errors.New("--profile needs --out, a folder for the report")}
	}
	dir, err := os.MkdirTemp("", "thaw-profile-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // functions run as another user
		return err
	}
	function, err := o.profiled(ctx, folder, dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where thaw's companions are: %w", err)
	}
	binary := filepath.Join(filepath.Dir(self), "thaw-collector")
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("thaw-collector, which makes the report's figures, is not beside thaw: %w", err)
	}
	begun := time.Now()
	collector, err := collectorproc.Start(ctx, collectorproc.Config{Binary: binary, DataDir: filepath.Join(dir, "collector")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Stop()) }()
	function.Env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.OTLP
	if err := o.coldStart(ctx, function, payload, stderr); err != nil {
		return err
	}
	if err := collector.Flush(ctx); err != nil {
		return err
	}
	rep, err := report.Build(ctx, &report.Client{URL: collector.API}, report.Options{Start: begun.Add(-time.Second), PriceRegion: "us-east-1"})
	if err != nil {
		return fmt.Errorf("build the report: %w", err)
	}
	return o.writeProfile(rep, stdout, stderr)
}

func (o *runOptions) readPayload() ([]byte, error) {
	if o.payload == "" {
		return []byte("{}"), nil
	}
	payload, err := os.ReadFile(o.payload)
	if err != nil {
		return nil, usageError{fmt.Errorf("--payload: %w", err)}
	}
	if !json.Valid(payload) {
		return nil, usageError{fmt.Errorf("--payload: %s is not JSON", o.payload)}
	}
	return payload, nil
}

// profiled is the function with the hook of its runtime, and with what that
// measures on request.
func (o *runOptions) profiled(ctx context.Context, folder, dir string) (emulator.Function, error) {
	f, err := o.function(ctx, folder, dir)
	if err != nil {
		return f, err
	}
	if len(f.Command) > 0 {
		// On Lambda AWS_LAMBDA_EXEC_WRAPPER does this.
		f.Command = append([]string{filepath.Join(o.ownLayerDir, "thaw", "wrapper")}, f.Command...)
	}
	if f.Env["THAW_PROFILE"] == "" {
		f.Env["THAW_PROFILE"] = "deep"
	}
	return f, nil
}

// coldStart invokes every memory size: cold, then warm. It returns when all
// that the extension had to say has been sent.
func (o *runOptions) coldStart(ctx context.Context, function emulator.Function, payload []byte, stderr io.Writer) (err error) {
	lambda := &emulator.Emulator{Addr: "127.0.0.1:0", Log: stderr, IdleTimeout: o.idle}
	if err := lambda.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lambda.Close(), o.writeLedger(lambda.Ledger())) }()
	fmt.Fprintln(stderr, lambda.Enforcement())
	for i, mb := range o.memoryMB {
		function.MemoryMB, function.Version = mb, emulator.LatestVersion
		if len(o.memoryMB) > 1 {
			function.Version = strconv.Itoa(i + 1)
		}
		if err := lambda.AddFunction(function); err != nil {
			return usageError{err}
		}
		for n := range o.invocations {
			result, err := lambda.Invoke(ctx, function.Name, function.Version, payload)
			if err != nil {
				return fmt.Errorf("invoke %s: %w", function.Name, err)
			}
			if result.FunctionError != "" {
				fmt.Fprintf(stderr, "invocation %d failed (%s): %.500s\n", n+1, result.FunctionError, result.Payload)
			}
		}
	}
	return nil
}

// writeProfile writes the report and the profiles, and the summary.
func (o *runOptions) writeProfile(rep *report.Report, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder for the report: %w", err)
	}
	var files []string
	for _, format := range []report.Format{report.HTML, report.Markdown, report.JSON} {
		name := "report." + string(format)
		err := writeTo(filepath.Join(o.out, name), func(w io.Writer) error {
			return report.Render(w, rep, format, report.TextOptions{})
		})
		if err != nil {
			return err
		}
		files = append(files, name)
	}
	if err := report.RenderProfile(stdout, rep, terminalOptions(stdout)); err != nil {
		return err
	}
	exports, err := o.writeExports(rep)
	if err != nil {
		return err
	}
	if len(exports) == 0 {
		fmt.Fprintln(stderr, "No hook profiled the init: there is none for this runtime, or it was turned off (THAW_PROFILE).")
	}
	_, err = fmt.Fprintf(stdout, "In %s: %s\n", o.out, strings.Join(append(files, exports...), ", "))
	if err == nil && len(exports) > 0 {
		_, err = fmt.Fprintf(stdout, "Open report.html for the flame graph, or: go tool pprof -http : %s\n", filepath.Join(o.out, exports[0]))
	}
	return err
}

// writeExports writes the newest profile of each memory size for other tools.
func (o *runOptions) writeExports(rep *report.Report) ([]string, error) {
	var files []string
	for _, f := range rep.Functions {
		for i := range f.Profiles {
			p := &f.Profiles[i]
			name := "init"
			if len(o.memoryMB) > 1 {
				name = fmt.Sprintf("init-%dmb", p.MemoryMB)
			}
			if slices.Contains(files, name+".pb.gz") {
				continue // the slowest of a size that has its newest
			}
			written, err := exportProfile(o.out, name, f.Name, p)
			if err != nil {
				return nil, err
			}
			files = append(files, written...)
		}
	}
	return files, nil
}

// exportProfile writes one profile for other tools, as files that begin with
// name.
func exportProfile(dir, name, function string, p *report.InitProfile) ([]string, error) {
	e := p.Export(function)
	if e == nil {
		return nil, nil
	}
	var files []string
	for _, f := range []struct {
		suffix string
		write  func(io.Writer) error
	}{{".pb.gz", e.Pprof}, {".folded", e.Folded}, {".speedscope.json", e.Speedscope}} {
		if err := writeTo(filepath.Join(dir, name+f.suffix), f.write); err != nil {
			return nil, err
		}
		files = append(files, name+f.suffix)
	}
	return files, nil
}

func writeTo(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
