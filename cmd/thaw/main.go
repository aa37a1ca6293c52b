// Command thaw shows where AWS Lambda cold starts go and what to change.
//
// Usage:
//
//	thaw demo      run real functions in a local Lambda and report on them
//	thaw run       serve a function from a folder in a local Lambda
//	thaw report    write the recommendation report from what a collector holds
//	thaw compare  say what changed between two times, versions or architectures
//	thaw import    read Lambda's own lines from CloudWatch logs
//	thaw account   collect what AWS says about functions
//	thaw evaluate  hold the memory model against measured curves
//	thaw layer     pack the Lambda layer
//	thaw version   print the version
//
// Every command explains itself with --help. Results go to standard output,
// progress and errors to standard error. The exit code is 0 when everything
// worked, 1 when something did not, 2 when a condition of --fail-on or a budget
// was crossed, and 64 when the command line is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes besides 0 and 1. A build has to tell a crossed condition from a
// command line that is wrong, which is EX_USAGE of sysexits.h.
const (
	exitGate  = 2
	exitUsage = 64
)

// usageError is an error in the command line, as opposed to one in the work.
type usageError struct{ error }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var gate gateError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "thaw: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &gate):
		fmt.Fprintf(stderr, "thaw: the condition is crossed:\n  %v\n", err)
		return exitGate
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "thaw: interrupted: %v\n", err)
		return 1
	}
	fmt.Fprintf(stderr, "thaw: %v\n", err)
	return 1
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "thaw",
		Short:         "Shows where AWS Lambda cold starts go and what to change",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("thaw {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newDemoCmd(), newRunCmd(), newReportCmd(), newCompareCmd(), newImportCmd(), newAccountCmd(), newEvaluateCmd(), newLayerCmd(), newVersionCmd())
	for _, cmd := range root.Commands() {
		checkArgs(cmd)
	}
	return root
}

func noCommand(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("there is no command %q", args[0])}
	}
	return nil
}

// checkArgs makes wrong arguments usage errors, in every command.
func checkArgs(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		checkArgs(sub)
	}
}
