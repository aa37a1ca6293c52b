package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/report"
)

// reportFlags are what `thaw report` can be asked for.
type reportFlags struct {
	url         string
	since       time.Duration
	start, end  string
	formats     []string
	out         string
	profiles    bool
	functions   []string
	priceRegion string
	prices      string
	p95Limit    time.Duration
	timeout     time.Duration
	failOn      string
	budget      string
	account     string
}

func newReportCmd() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Say where cold starts go and what to change",
		Long: `Report asks a collector, or any store that speaks the Prometheus API, what happened
in a range of time, and writes what it finds: how often each function starts cold,
where its init goes, what each memory size costs, and what to change.

HTML is one file that needs no network. Files are named thaw-report.html, .md, .json
and .txt. With --out - a single format goes to standard output.`,
		Example: `  thaw report
  thaw report --since 168h --format html --out .
  thaw report --url http://prometheus:9090 --function checkout --format md
  thaw report --function checkout --format html --profiles --out .
  thaw report --start 2026-11-02T12:00:00Z --end 2026-11-02T18:00:00Z --format html,json --out reports`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "http://127.0.0.1:8464", "collector, or any store with a Prometheus API")
	flags.DurationVar(&f.since, "since", 24*time.Hour, "length of the range, up to now or to --end")
	flags.StringVar(&f.start, "start", "", "start of the range, as 2026-11-02T12:00:00Z; replaces --since")
	flags.StringVar(&f.end, "end", "", "end of the range; now when not given")
	flags.StringSliceVar(&f.formats, "format", []string{"text"}, "html, md, json, text, or several with commas")
	flags.StringVar(&f.out, "out", "-", "folder for the files, or - for standard output")
	flags.BoolVar(&f.profiles, "profiles", false, "write init profiles for other tools too: FUNCTION-VERSION-init.pb.gz (go tool pprof), .folded, .speedscope.json")
	flags.StringSliceVar(&f.functions, "function", nil, "names of functions; all when not given")
	flags.StringVar(&f.priceRegion, "price-region", "", "region whose prices stand in where a function's has none, as us-east-1")
	pricesFlag(flags, &f.prices)
	flags.DurationVar(&f.p95Limit, "p95-limit", 0, "also name the cheapest memory size whose 95th percentile of warm durations keeps this limit, as 200ms")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the answers")
	flags.StringVar(&f.failOn, "fail-on", "", "exit with 2 when there is a finding of this severity: urgent, or change for that and worse")
	flags.StringVar(&f.account, "account", "", "file that 'thaw account' wrote: configuration, throttles, concurrency, ages of events")
	flags.StringVar(&f.budget, "budget", "", "file of limits; exit with 2 when one is crossed with 95 % confidence (docs/config.md)")
	return cmd
}

func (f *reportFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	formats, err := f.parseFormats()
	if err != nil {
		return usageError{err}
	}
	gate, err := f.gate()
	if err != nil {
		return usageError{err}
	}
	options, err := f.options()
	if err != nil {
		return usageError{err}
	}
	if options.Prices, err = loadPrices(f.prices); err != nil {
		return err
	}
	if options.Account, err = f.readAccount(); err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := report.Build(ctx, &report.Client{URL: f.url}, options)
	if err != nil {
		return explain(err)
	}
	for _, format := range formats {
		if err := f.write(stdout, r, format); err != nil {
			return err
		}
	}
	if f.profiles {
		if err := f.writeProfiles(stdout, r); err != nil {
			return err
		}
	}
	return gate(r, stderr)
}

func (f *reportFlags) readAccount() (*account.Account, error) {
	if f.account == "" {
		return nil, nil
	}
	file, err := os.Open(f.account)
	if err != nil {
		return nil, fmt.Errorf("--account: %w", err)
	}
	defer file.Close()
	a, err := account.Read(file)
	if err != nil {
		return nil, fmt.Errorf("--account %s: %w", f.account, err)
	}
	return a, nil
}

// writeProfiles writes the newest profile of each version for other tools.
func (f *reportFlags) writeProfiles(stdout io.Writer, r *report.Report) error {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, fn := range r.Functions {
		for i := range fn.Profiles {
			p := &fn.Profiles[i]
			// The names are a stranger's, and become those of files.
			name := unsafeInNames().ReplaceAllString(fn.Name+"-"+p.Version, "-") + "-init"
			if seen[name] {
				continue
			}
			seen[name] = true
			files, err := exportProfile(f.out, name, fn.Name, p)
			if err != nil {
				return err
			}
			for _, file := range files {
				fmt.Fprintln(stdout, filepath.Join(f.out, file))
			}
		}
	}
	return nil
}

func unsafeInNames() *regexp.Regexp { return regexp.MustCompile(`[^a-zA-Z0-9-_$]+`) }

func (f *reportFlags) parseFormats() ([]report.Format, error) {
	var out []report.Format
	for _, name := range f.formats {
		format := report.Format(strings.TrimSpace(name))
		if !slices.Contains(report.Formats(), format) {
			return nil, fmt.Errorf("--format %s: it is one of html, md, json and text", name)
		}
		out = append(out, format)
	}
	if len(out) == 0 {
		return nil, errors.New("--format is empty: it is one of html, md, json and text")
	}
	if f.out == "-" && f.profiles {
		return nil, errors.New("--profiles needs a folder: --out DIR")
	}
	if f.out == "-" && len(out) > 1 {
		return nil, errors.New("several formats need a folder: --out DIR")
	}
	return out, nil
}

func (f *reportFlags) options() (report.Options, error) {
	o := report.Options{Since: f.since, Functions: f.functions, PriceRegion: f.priceRegion, P95Limit: f.p95Limit}
	if f.since <= 0 {
		return o, errors.New("--since has to be above zero, such as 24h")
	}
	if f.p95Limit < 0 {
		return o, errors.New("--p95-limit has to be above zero, such as 200ms")
	}
	for _, end := range []struct {
		flag, value string
		into        *time.Time
	}{{"--start", f.start, &o.Start}, {"--end", f.end, &o.End}} {
		if end.value == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, end.value)
		if err != nil {
			return o, fmt.Errorf("%s %s is not a time such as 2026-11-02T12:00:00Z", end.flag, end.value)
		}
		*end.into = at
	}
	return o, nil
}

// write writes one format to its file, or to standard output.
func (f *reportFlags) write(stdout io.Writer, r *report.Report, format report.Format) error {
	if f.out == "-" {
		return report.Render(stdout, r, format, terminalOptions(stdout))
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	extension := string(format)
	if format == report.Text {
		extension = "txt"
	}
	path := filepath.Join(f.out, "thaw-report."+extension)
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(report.Render(file, r, format, report.TextOptions{}), file.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, path)
	return err
}

// terminalOptions asks for colours on a terminal only, unless NO_COLOR is set.
func terminalOptions(w io.Writer) report.TextOptions {
	var o report.TextOptions
	if !terminal(w) {
		return o
	}
	o.Color = os.Getenv("NO_COLOR") == ""
	if columns := os.Getenv("COLUMNS"); columns != "" {
		fmt.Sscan(columns, &o.Width)
	}
	return o
}

// explain adds what to do about an error.
func explain(err error) error {
	var unreachable *report.UnreachableError
	switch {
	case errors.As(err, &unreachable):
		return fmt.Errorf("%w\n  start a collector (thaw-collector, or thaw demo for an example), or name a store with --url", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the store did not answer in time; ask for a shorter range (--since) or one function (--function), or wait longer (--timeout)")
	}
	return err
}
