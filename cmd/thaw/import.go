package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/internal/cloudwatchlog"
	"github.com/thaw-lambda/thaw/internal/cloudwatchlog/live"
	"github.com/thaw-lambda/thaw/report"
)

// importFlags are what `thaw import` can be asked for.
type importFlags struct {
	json     bool
	function string
	account  string
	region   string
	arch     string

	group             string
	since             time.Duration
	profile, endpoint string

	// send is where what the spool holds is sent to.
	send string

	// imported are curves that something else measured.
	imported []report.Imported

	out, dataDir string
	keep         bool
	priceRegion  string
	prices       string
}

func newImportCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [FILE or FOLDER...]",
		Short: "Read Lambda's own lines from CloudWatch logs",
		Long: `Import reads what Lambda itself writes into CloudWatch Logs: START, END, REPORT,
INIT_START, INIT_REPORT and RESTORE_REPORT lines of every age, and the platform events
of the JSON log format. It needs no layer on the function.

It reads files, folders, and standard input (no argument, or -), gzip'ed or not:
  - plain lines, as a terminal shows them
  - the output of aws logs tail, filter-log-events and get-log-events
  - an export to S3: the folder with its .gz files
  - subscriptions ("logEvents"), one JSON document or many

  - what Thaw's extension wrote into the log because no backend took it

It also reads what others measured, and shows it as memory curves: the output of AWS Lambda
Power Tuning (with includeOutputResults) or the link to its picture, files of
maxday/lambda-perf, and files of curves as thaw evaluate reads them.

With --log-group it reads CloudWatch Logs itself, and asks it for lines of the platform
only. Credentials come from where the AWS CLI takes them; they need logs:FilterLogEvents.

With --out it also writes the report, with no layer deployed: what was read is replayed in
the order of time into a store of its own, through the collector beside thaw.

Lines of the application are counted and never kept. A line of the platform that
cannot be read is counted as unparsed and shown; it stops nothing.`,
		Example: `  aws logs tail /aws/lambda/checkout --since 1d | thaw import
  thaw import --json export/
  thaw import --send http://collector:4318 --log-group /aws/lambda/checkout
  thaw import --out report power-tuning-result.json
  thaw import --log-group /aws/lambda/checkout --since 168h --out report --arch arm64
  thaw import --out report --region eu-west-1 --arch arm64 checkout.log
  aws logs filter-log-events --log-group-name /aws/lambda/checkout | thaw import --function checkout`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print the counts as JSON")
	flags.StringVar(&f.function, "function", "", "name of the function; else from the log group or the file's name")
	flags.StringVar(&f.account, "account", "", "AWS account, where the input does not name it")
	flags.StringVar(&f.region, "region", "", "AWS region, where the input does not name it, and for --log-group")
	flags.StringVar(&f.group, "log-group", "", "log group to read from CloudWatch Logs itself, as /aws/lambda/checkout")
	flags.DurationVar(&f.since, "since", 24*time.Hour, "how far back --log-group is read")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration, for --log-group")
	flags.StringVar(&f.endpoint, "endpoint-url", "", "endpoint instead of AWS's, such as that of a local server of its APIs")
	flags.StringVar(&f.send, "send", "", "OTLP/HTTP endpoint, as http://127.0.0.1:4318, to send on what the extension wrote into the log")
	flags.StringVar(&f.out, "out", "", "folder for report.html, report.md and report.json on what was read")
	flags.StringVar(&f.dataDir, "data-dir", "", "empty folder to keep the store of the report in; a temporary one when not given")
	flags.BoolVar(&f.keep, "keep", false, "leave that store and its page serving until Ctrl-C")
	flags.StringVar(&f.priceRegion, "price-region", "", "region whose prices stand in where a function's is not known, as us-east-1")
	pricesFlag(flags, &f.prices)
	flags.StringVar(&f.arch, "arch", "", "architecture, x86_64 or arm64: no log names it")
	return cmd
}

func (f *importFlags) run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if _, err := hostArch(f.arch); err != nil {
		return usageError{err}
	}
	if f.group != "" && (len(args) > 0 || f.since <= 0) {
		return usageError{errors.New("--log-group is read from AWS: it takes no file, and a --since above zero")}
	}
	if f.out == "" && (f.keep || f.dataDir != "") {
		return usageError{errors.New("--keep and --data-dir are about the report: name its folder with --out")}
	}
	log, err := f.read(ctx, args, stdin)
	if err != nil {
		return err
	}
	if len(f.imported) > 0 && log.Empty() {
		return f.showImported(stdout)
	}
	if err := f.sendSpool(ctx, log, stderr); err != nil {
		return err
	}
	s := log.Summary()
	if f.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(s)
	} else {
		err = printImport(stdout, s)
	}
	if err != nil || f.out == "" {
		return err
	}
	return f.report(ctx, log, stdout, stderr)
}

// hostArch translates Lambda's name of an architecture into that of host.arch.
func hostArch(arch string) (string, error) {
	switch arch {
	case "", "arm64":
		return arch, nil
	case "x86_64", "amd64":
		return "amd64", nil
	}
	return "", fmt.Errorf("--arch %s: it is x86_64 or arm64", arch)
}

// read reads all inputs into one log.
func (f *importFlags) read(ctx context.Context, args []string, stdin io.Reader) (*cloudwatchlog.Log, error) {
	if f.group != "" {
		return f.readLive(ctx)
	}
	files, err := expand(args)
	if err != nil {
		return nil, err
	}
	known := cloudwatchlog.Known{Function: f.function, Account: f.account, Region: f.region, Before: lastChange(files)}
	a := cloudwatchlog.NewAssembler(known)
	for _, name := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := f.readFile(name, stdin, a.Add); err != nil {
			return nil, err
		}
	}
	return a.Finish(), nil
}

// readLive reads a log group from CloudWatch Logs.
func (f *importFlags) readLive(ctx context.Context) (*cloudwatchlog.Log, error) {
	cfg, err := awsConfig(ctx, f.region, f.profile, f.endpoint)
	if err != nil {
		return nil, err
	}
	a := cloudwatchlog.NewAssembler(cloudwatchlog.Known{Function: f.function, Account: f.account, Region: cfg.Region})
	now := time.Now()
	if err := live.Read(ctx, cfg, f.group, now.Add(-f.since), now, a.Add); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return a.Finish(), nil
}

// stdinName stands for standard input.
const stdinName = "-"

// expand replaces folders by the files in them.
func expand(args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{stdinName}, nil
	}
	var files []string
	for _, arg := range args {
		if arg == stdinName {
			files = append(files, arg)
			continue
		}
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			// An export to S3 begins with a file that says it could write.
			if err == nil && !d.IsDir() && d.Name() != "aws-logs-write-test" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
	}
	return files, nil
}

// lastChange is when the newest of the files was written: what has no times of
// its own ended then at the latest.
func lastChange(files []string) time.Time {
	var last time.Time
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

func (f *importFlags) readFile(name string, stdin io.Reader, add func(cloudwatchlog.Line)) (err error) {
	in, source := stdin, cloudwatchlog.Source{Name: "stdin"}
	if name != stdinName {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer file.Close() // it was only read
		in, source = file, cloudwatchlog.FileSource(name)
	}
	buffered := bufio.NewReaderSize(in, 64<<10)
	if head, _ := buffered.Peek(64 << 10); report.IsImported(head) {
		return f.readImported(buffered, source.Name)
	}
	return cloudwatchlog.Read(buffered, source, add)
}

// printImport says on a terminal what was read.
func printImport(w io.Writer, s *cloudwatchlog.Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d invocations, %d cold starts, %d errors, %d timeouts", s.Invocations, s.ColdStarts, s.Errors, s.Timeouts)
	if s.Start != nil {
		fmt.Fprintf(&b, ", from %s to %s", utc(*s.Start), utc(*s.End))
	}
	fmt.Fprintf(&b, "\n%d lines, %d of the platform, %d of the application (not kept), %d repeated, %d unparsed\n",
		s.Lines, s.PlatformLines, s.ApplicationLines, s.DuplicateLines, s.Unparsed)
	for _, n := range []struct {
		count int64
		what  string
	}{
		{s.Retries, "retries: attempts at a request that had been attempted before"},
		{s.WithoutReport, "without a REPORT: nothing is known of their billing and memory"},
		{s.WithoutStart, "without a START"},
		{s.FailedInits, "inits failed"},
		{s.Dropped, "log records were dropped by the platform"},
		{s.SpoolSpans, "spans that no backend took were read back from the log"},
		{int64(len(s.SpoolMissing)), "gaps in them: " + strings.Join(s.SpoolMissing, ", ")},
	} {
		if n.count > 0 {
			fmt.Fprintf(&b, "%d %s\n", n.count, n.what)
		}
	}
	if s.EnvironmentsInferred {
		b.WriteString("The input does not name the log streams: which environment served an invocation is inferred.\n")
	}
	if s.TimesInvented {
		b.WriteString("Some lines have no time: those invocations are laid one after the other.\n")
	}
	if l := s.LogLatency; l != nil {
		fmt.Fprintf(&b, "Log events reached CloudWatch %.0f ms late on average, %.0f ms at most (%d events)\n", l.MeanMS, l.MaxMS, l.Events)
	}
	for _, broken := range s.Broken {
		fmt.Fprintf(&b, "unparsed: %s:%d: %s: %s\n", broken.Input, broken.Line, broken.Reason, broken.Text)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if len(s.Functions) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nfunction\tMB\tinvocations\tcold starts\terrors\ttimeouts\tp50 ms\tp95 ms\tinit p50 ms\tGB-s")
	for _, f := range s.Functions {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%.3f\n", f.Name, f.MemoryMB, f.Invocations, f.ColdStarts, f.Errors, f.Timeouts,
			number(f.DurationMS.P50), number(f.DurationMS.P95), number(f.InitMS.P50), f.BilledGBSeconds)
	}
	return table.Flush()
}

func number(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *v)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
