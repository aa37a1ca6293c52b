package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/report"
)

// compareFlags are what `thaw compare` can be asked for.
type compareFlags struct {
	url           string
	before, after string
	versions      []string
	architectures []string
	since         time.Duration
	functions     []string
	priceRegion   string
	prices        string
	format        string
	failOn        []string
	timeout       time.Duration
}

func newCompareCmd() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Say what changed between two times, versions or architectures",
		Long: `Compare asks a collector, or any store with a Prometheus API, about two sides: two
ranges of time, or two versions or two architectures in one range. It shows what
changed with 95 % intervals, which changes chance does not explain (at a false
discovery rate of 5 % over all functions), since which deploy, and what else differs.

Without flags it compares the last 24 hours with the 24 hours before.

With --fail-on the exit code is 2 when a quantity rose by more than a share, with
95 % confidence: for builds. Quantities are ` + strings.Join(report.QuantityNames(), ", ") + `.`,
		Example: `  thaw compare
  thaw compare --function checkout --versions 41,42 --since 72h
  thaw compare --architectures x86_64,arm64 --since 168h
  thaw compare --before 2026-11-01T00:00:00Z/2026-11-08T00:00:00Z --after 2026-11-08T00:00:00Z/2026-11-15T00:00:00Z
  thaw compare --versions 41,42 --fail-on 'init_p95_ms>10%' --fail-on 'error_rate>0%'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "http://127.0.0.1:8464", "collector, or any store with a Prometheus API")
	flags.StringVar(&f.before, "before", "", "range before, as START/END, such as 2026-11-01T00:00:00Z/2026-11-08T00:00:00Z")
	flags.StringVar(&f.after, "after", "", "range after, as START/END")
	flags.StringSliceVar(&f.versions, "versions", nil, "two versions: the one before and the one after")
	flags.StringSliceVar(&f.architectures, "architectures", nil, "two architectures: x86_64,arm64")
	flags.DurationVar(&f.since, "since", 24*time.Hour, "length of the range up to now, and of the one before it, where --before and --after are not given")
	flags.StringSliceVar(&f.functions, "function", nil, "names of functions; all when not given")
	flags.StringVar(&f.priceRegion, "price-region", "", "region whose prices stand in where a function's has none, as us-east-1")
	pricesFlag(flags, &f.prices)
	flags.StringVar(&f.format, "format", "text", "text, md or json")
	flags.StringArrayVar(&f.failOn, "fail-on", nil, "condition for exit code 2, such as 'init_p95_ms>10%'; may be given several times")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the answers")
	return cmd
}

func (f *compareFlags) run(ctx context.Context, stdout io.Writer) error {
	o, gates, err := f.parse(time.Now())
	if err != nil {
		return usageError{err}
	}
	if o.Prices, err = loadPrices(f.prices); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	c, err := report.Compare(ctx, &report.Client{URL: f.url}, o)
	if err != nil {
		return explain(err)
	}
	if err := report.RenderComparison(stdout, c, report.Format(f.format), terminalOptions(stdout)); err != nil {
		return err
	}
	var crossed []string
	for _, g := range gates {
		crossed = append(crossed, g.Check(c)...)
	}
	if len(crossed) > 0 {
		return gateError{crossed}
	}
	return nil
}

// gateError is a condition for which a build is to fail.
type gateError struct{ crossed []string }

func (e gateError) Error() string { return strings.Join(e.crossed, "\n  ") }

func (f *compareFlags) parse(now time.Time) (report.CompareOptions, []report.Gate, error) {
	o := report.CompareOptions{Functions: f.functions, PriceRegion: f.priceRegion}
	if !slices.Contains([]string{"text", "md", "json"}, f.format) {
		return o, nil, fmt.Errorf("--format %s: it is one of text, md and json", f.format)
	}
	var gates []report.Gate
	for _, s := range f.failOn {
		g, err := report.ParseGate(s)
		if err != nil {
			return o, nil, fmt.Errorf("--fail-on %w", err)
		}
		gates = append(gates, g)
	}
	if err := f.ranges(&o, now); err != nil {
		return o, nil, err
	}
	return o, gates, f.dimensions(&o)
}

// ranges sets the times of both sides. Versions and architectures are compared
// within one range, times in two.
func (f *compareFlags) ranges(o *report.CompareOptions, now time.Time) error {
	if (f.before == "") != (f.after == "") {
		return errors.New("--before and --after go together")
	}
	if f.before != "" {
		var err error
		if o.Before.Start, o.Before.End, err = parseRange(f.before); err != nil {
			return fmt.Errorf("--before %w", err)
		}
		if o.After.Start, o.After.End, err = parseRange(f.after); err != nil {
			return fmt.Errorf("--after %w", err)
		}
		return nil
	}
	if f.since <= 0 {
		return errors.New("--since has to be above zero, such as 24h")
	}
	o.After.Start, o.After.End = now.Add(-f.since), now
	o.Before = o.After
	if len(f.versions)+len(f.architectures) == 0 {
		o.Before.Start, o.Before.End = now.Add(-2*f.since), now.Add(-f.since)
	}
	return nil
}

func (f *compareFlags) dimensions(o *report.CompareOptions) error {
	if n := len(f.versions); n == 2 {
		o.Before.Version, o.After.Version = f.versions[0], f.versions[1]
	} else if n != 0 {
		return fmt.Errorf("--versions takes two, the one before and the one after; it has %d", n)
	}
	if n := len(f.architectures); n == 2 {
		for i, into := range []*string{&o.Before.Architecture, &o.After.Architecture} {
			arch, err := hostArch(f.architectures[i])
			if err != nil {
				return fmt.Errorf("--architectures: %s is neither x86_64 nor arm64", f.architectures[i])
			}
			*into = arch
		}
	} else if n != 0 {
		return fmt.Errorf("--architectures takes two, such as x86_64,arm64; it has %d", n)
	}
	return nil
}

func parseRange(s string) (start, end time.Time, err error) {
	from, to, found := strings.Cut(s, "/")
	if found {
		start, err = time.Parse(time.RFC3339, from)
	}
	if found && err == nil {
		end, err = time.Parse(time.RFC3339, to)
	}
	if !found || err != nil {
		return start, end, fmt.Errorf("%s is not a range such as 2026-11-01T00:00:00Z/2026-11-08T00:00:00Z", s)
	}
	return start, end, nil
}
