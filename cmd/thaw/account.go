package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/internal/account/collect"
)

// accountFlags are what `thaw account` can be asked for.
type accountFlags struct {
	region, profile, endpoint string
	since                     time.Duration
	functions                 []string
	noDetails                 bool
	out                       string
	timeout                   time.Duration
}

func newAccountCmd() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Collect what AWS says about an account's functions",
		Long: `Account asks AWS, read-only, for what an extension cannot see: the function list with
timeouts, layers and sizes, reserved and provisioned concurrency, event sources, and
CloudWatch's throttles, concurrency, spill-over and ages of events. It writes one file,
which 'thaw report --account FILE' takes as a further input.

Credentials and region come from where the AWS CLI takes them. What the role does not
permit is left out and named in the file; lambda:ListFunctions is needed.`,
		Example: `  thaw account --region eu-central-1 --out account.json
  thaw account --function checkout --since 24h --out - | jq '.functions[0].metrics'
  thaw report --account account.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.region, "region", "", "region (default: that of the environment or the profile)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration")
	flags.StringVar(&f.endpoint, "endpoint-url", "", "endpoint instead of AWS's, such as that of a local server of its APIs")
	flags.DurationVar(&f.since, "since", 14*24*time.Hour, "range of the metrics up to now, in whole hours; CloudWatch keeps hours for 455 days")
	flags.StringSliceVar(&f.functions, "function", nil, "names of functions; all when not given")
	flags.BoolVar(&f.noDetails, "no-details", false, "leave out reserved and provisioned concurrency and tags, which take three calls a function")
	flags.StringVar(&f.out, "out", "thaw-account.json", "file to write, or - for standard output")
	flags.DurationVar(&f.timeout, "timeout", time.Hour, "how long to wait for the answers")
	return cmd
}

func (f *accountFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if f.since < time.Hour {
		return usageError{errors.New("--since has to be at least 1h")}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	cfg, err := awsConfig(ctx, f.region, f.profile, f.endpoint)
	if err != nil {
		return err
	}
	if cfg.Region == "" {
		return usageError{errors.New("no region: name one with --region, AWS_REGION or a profile")}
	}
	now := time.Now()
	shown := terminal(stderr)
	got, err := collect.Collect(ctx, cfg, collect.Options{
		Start: now.Add(-f.since), End: now, Functions: f.functions, Details: !f.noDetails,
		Progress: func(done, all int) {
			if shown {
				fmt.Fprintf(stderr, "\r%d of %d functions", done, all)
			}
			if shown && done == all {
				fmt.Fprintln(stderr)
			}
		},
	})
	if err != nil {
		return err
	}
	for _, what := range got.Refused {
		fmt.Fprintf(stderr, "not available: %s\n", what)
	}
	return f.write(stdout, got)
}

func (f *accountFlags) write(stdout io.Writer, a *account.Account) error {
	if f.out == "-" {
		return a.Write(stdout)
	}
	if err := os.MkdirAll(filepath.Dir(f.out), 0o755); err != nil {
		return err
	}
	file, err := os.Create(f.out)
	if err != nil {
		return err
	}
	if err := errors.Join(a.Write(file), file.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %d functions of %s in %s\n", f.out, len(a.Functions), a.AccountID, a.Region)
	return err
}

// terminal says whether a person watches.
func terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
