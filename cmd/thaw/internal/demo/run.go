package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/examples/priceapi"
	"github.com/thaw-lambda/thaw/internal/collectorproc"
	"github.com/thaw-lambda/thaw/report"
)

// Config says what to do.
type Config struct {
	// Quick runs less of everything: at most a minute.
	Quick bool
	// Out is the folder of the results.
	Out string
	// Keep leaves the collector serving until ctx ends.
	Keep bool
	// Bin is where the companions of thaw are.
	Bin string
	// Stdout receives the summary, Stderr the progress. Terminal says that
	// Stderr is one, Color that Stdout may have colours.
	Stdout, Stderr  io.Writer
	Terminal, Color bool
}

// Run runs the demo. When it returns, nothing of it runs any more.
func Run(ctx context.Context, c Config) (err error) {
	begun := time.Now()
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("make the folder for the results: %w", err)
	}
	dir, err := tempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	a, err := prepare(ctx, c.Bin, dir)
	if err != nil {
		return err
	}
	for _, why := range a.skipped {
		c.say("skipped: %v", why)
	}
	collector, err := collectorproc.Start(ctx, collectorproc.Config{
		Binary:  a.collector,
		DataDir: filepath.Join(dir, "collector"),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Stop()) }()

	var spool collectorproc.Spool
	ledger, err := c.invokeAll(ctx, a, collector.OTLP, &spool)
	if err != nil {
		return err
	}
	if err := collector.Deliver(ctx, &spool); err != nil {
		return err
	}
	if err := collector.Flush(ctx); err != nil {
		return err
	}
	rep, err := report.Build(ctx, &report.Client{URL: collector.API}, report.Options{Start: begun.Add(-time.Second)})
	if err != nil {
		return fmt.Errorf("build the report: %w", err)
	}
	if err := c.write(rep, ledger); err != nil {
		return err
	}
	differences := compare(rep, ledger.Summary())
	if err := c.summarise(rep, differences, ledger, time.Since(begun)); err != nil {
		return err
	}
	if c.Keep {
		c.say("\nThe collector serves until Ctrl-C: %s", collector.API)
		select {
		case <-ctx.Done():
		case <-collector.Exited():
			return fmt.Errorf("the collector ended by itself\n%s", collector.Log())
		}
	}
	return errors.Join(differences...)
}

// tempDir makes the folder that everything lives in. Functions run as another
// user, so that user must be able to get there.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "thaw-demo-")
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("open the temporary folder: %w", err)
	}
	return dir, nil
}

// invokeAll runs the functions in a local Lambda and returns when all that they
// had to say has been sent. Their log goes to log: what could not be sent in
// time is in it.
func (c *Config) invokeAll(ctx context.Context, a *assets, otlp string, log io.Writer) (_ *emulator.Ledger, err error) {
	prices, stop, err := servePrices(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	lambda := &emulator.Emulator{Log: log}
	if err := lambda.Start(ctx); err != nil {
		return nil, err
	}
	c.say("local Lambda on this machine:\n%s", lambda.Enforcement())

	jobs := plan(a.runnable, c.Quick)
	for _, j := range jobs {
		if err := lambda.AddFunction(a.function(j, otlp, prices)); err != nil {
			return nil, errors.Join(fmt.Errorf("deploy %s: %w", j.name, err), lambda.Close())
		}
	}
	c.say("%d functions at %d memory sizes in all:", len(a.runnable), len(jobs))
	for _, ex := range a.runnable {
		c.say("  %-14s %s", ex.Name, ex.Shows)
	}
	shown := newProgress(c.Stderr, c.Terminal, invocations(jobs))
	err = work(ctx, lambda, jobs, runtime.NumCPU(), shown)
	shown.finish()
	// Closing sends SHUTDOWN to every environment, and waits for it: that is
	// when the extensions send what they still hold.
	return lambda.Ledger(), errors.Join(err, lambda.Close())
}

func (a *assets) function(j job, otlp, prices string) emulator.Function {
	built := a.functions[j.name]
	ex, _ := examples.Find(j.name)
	return emulator.Function{
		Name:     j.name,
		Version:  j.version,
		Alias:    fmt.Sprintf("%dmb", j.memoryMB),
		Handler:  ex.Handler,
		Runtime:  built.Runtime,
		Dir:      built.Dir,
		Command:  built.Command,
		Layers:   []string{a.layer},
		MemoryMB: j.memoryMB,
		Timeout:  j.timeout,
		Env: map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
			examples.PriceAPIVariable:     prices,
		},
	}
}

// servePrices starts the network service that the checkout example waits for.
func servePrices(ctx context.Context) (url string, stop func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("serve the price service: %w", err)
	}
	server := &http.Server{Handler: priceapi.Handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // returns when it is closed
	}()
	return "http://" + l.Addr().String(), func() { _ = server.Close(); <-done }, nil
}

// write puts the report in every format into the folder, and the ledger beside
// it.
func (c *Config) write(rep *report.Report, ledger *emulator.Ledger) error {
	for _, format := range []report.Format{report.HTML, report.Markdown, report.JSON} {
		err := writeFile(filepath.Join(c.Out, "report."+string(format)), func(w io.Writer) error {
			return report.Render(w, rep, format, report.TextOptions{})
		})
		if err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(c.Out, "ledger.jsonl"), func(w io.Writer) error {
		_, err := ledger.WriteTo(w)
		return err
	})
}

func writeFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// summarise prints what a person wants to know first.
func (c *Config) summarise(rep *report.Report, differences []error, ledger *emulator.Ledger, took time.Duration) error {
	if err := report.Render(c.Stdout, rep, report.Text, report.TextOptions{Color: c.Color}); err != nil {
		return err
	}
	total := totals(ledger.Summary())
	agreement := "agrees with the local Lambda's ledger"
	if len(differences) > 0 {
		agreement = "DISAGREES with the local Lambda's ledger"
	}
	_, err := fmt.Fprintf(c.Stdout, `
The report %s: %d invocations, %d cold starts, %d platform errors, %d timeouts.
The demo provokes cold starts by reclaiming environments, and flaky fails on purpose: those rates are the demo's.
It took %.0f s. Read on: %s (also report.md, report.json, and ledger.jsonl).
`, agreement, total.Invocations, total.ColdStarts, total.Errors, total.Timeouts, took.Seconds(), filepath.Join(c.Out, "report.html"))
	return err
}

func (c *Config) say(format string, args ...any) { fmt.Fprintf(c.Stderr, format+"\n", args...) }
