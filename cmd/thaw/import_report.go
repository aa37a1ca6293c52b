package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/cmd/thaw/internal/replay"
	"github.com/thaw-lambda/thaw/internal/cloudwatchlog"
	"github.com/thaw-lambda/thaw/internal/collectorproc"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report"
)

// report replays the log and writes the report on it to the folder.
func (f *importFlags) report(ctx context.Context, log *cloudwatchlog.Log, stdout, stderr io.Writer) (err error) {
	prices, err := loadPrices(f.prices)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where thaw's companions are: %w", err)
	}
	binary := filepath.Join(filepath.Dir(self), "thaw-collector")
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("thaw-collector, which counts what is imported, is not beside thaw: %w", err)
	}
	collector, err := replay.Start(ctx, binary, f.dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collector.Close()) }()
	if err := f.replay(ctx, log, collector); err != nil {
		return err
	}
	start, end := collector.Range()
	if start.IsZero() {
		return errors.New("there is nothing to report on: no invocation and no init was read")
	}
	rep, err := report.Build(ctx, &report.Client{URL: collector.API()}, report.Options{
		Start: start.Add(-time.Second), End: end.Add(2 * time.Second), PriceRegion: f.priceRegion, Prices: prices,
	})
	if err != nil {
		return fmt.Errorf("build the report: %w", err)
	}
	rep.Imported = f.imported
	if err := f.writeReport(rep, stdout); err != nil || !f.keep {
		return err
	}
	fmt.Fprintf(stderr, "The store serves until Ctrl-C: %s\n  thaw report --url %s --start %s --end %s\n", collector.API(), collector.API(),
		start.Add(-time.Second).UTC().Format(time.RFC3339), end.Add(2*time.Second).UTC().Format(time.RFC3339))
	select {
	case <-ctx.Done():
		return nil
	case <-collector.Exited():
		return errors.New("the collector ended by itself")
	}
}

// replay sends the log's happenings in the order of time.
func (f *importFlags) replay(ctx context.Context, log *cloudwatchlog.Log, to *replay.Collector) error {
	arch, err := hostArch(f.arch)
	if err != nil {
		return err
	}
	err = log.Happenings(arch, func(h cloudwatchlog.Happening) error {
		switch {
		case h.Span != nil:
			return to.AddSpan(ctx, h.Span.Resource, h.Span.Scope, h.Span.Span)
		case h.Init != nil:
			return to.Add(ctx, h.Environment, h.Time, func(e *lifecycle.Encoder, dst ptrace.SpanSlice) { e.Init(dst, h.Init) })
		}
		return to.Add(ctx, h.Environment, h.Time, func(e *lifecycle.Encoder, dst ptrace.SpanSlice) { e.Invocation(dst, h.Invocation) })
	})
	if err != nil {
		return err
	}
	return to.Finish(ctx)
}

// writeReport writes report.html, .md and .json, and says where.
func (f *importFlags) writeReport(rep *report.Report, stdout io.Writer) error {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("make the folder for the report: %w", err)
	}
	for _, format := range []report.Format{report.HTML, report.Markdown, report.JSON} {
		path := filepath.Join(f.out, "report."+string(format))
		file, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		if err := errors.Join(report.Render(file, rep, format, report.TextOptions{}), file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if f.json {
			continue // standard output is for the JSON
		}
		if _, err := fmt.Fprintln(stdout, path); err != nil {
			return err
		}
	}
	return nil
}

// readImported reads curves that something else measured.
func (f *importFlags) readImported(r io.Reader, input string) error {
	name := f.function
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(input), filepath.Ext(input))
	}
	list, err := report.ReadImported(r, name)
	if err != nil {
		return fmt.Errorf("import %s: %w", input, err)
	}
	f.imported = append(f.imported, list...)
	return nil
}

// showImported prints curves, or writes the report on them.
func (f *importFlags) showImported(stdout io.Writer) error {
	rep := report.ImportedReport(f.imported, "thaw import", time.Now())
	if f.out != "" {
		return f.writeReport(rep, stdout)
	}
	if f.json {
		return report.Render(stdout, rep, report.JSON, report.TextOptions{})
	}
	return report.Render(stdout, rep, report.Text, terminalOptions(stdout))
}

// sendSpool sends on what the extension wrote into the log because no backend
// took it. A collector of Thaw's recognises what it has counted before.
func (f *importFlags) sendSpool(ctx context.Context, log *cloudwatchlog.Log, stderr io.Writer) error {
	if f.send == "" {
		return nil
	}
	records := log.Spool()
	for i, body := range records {
		if err := collectorproc.Post(ctx, strings.TrimSuffix(f.send, "/"), body); err != nil {
			return fmt.Errorf("send record %d of %d of the spool to %s: %w", i+1, len(records), f.send, err)
		}
	}
	_, err := fmt.Fprintf(stderr, "%d records of the spool were sent to %s\n", len(records), f.send)
	return err
}
