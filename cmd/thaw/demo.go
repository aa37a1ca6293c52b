package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/cmd/thaw/internal/demo"
)

func newDemoCmd() *cobra.Command {
	var c demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run real functions in a local Lambda and report on them",
		Long: `Demo runs small real functions in a local Lambda, cold and warm, at several memory
sizes, with the layer attached and a collector beside it. It compares the
report with the local Lambda's own ledger, writes it to the folder --out
(report.html, report.md, report.json, and the ledger as ledger.jsonl), and
summarises it on standard output.

It needs no account and no setting, and takes at most five minutes on two
cores. Functions whose interpreter (node, python3) is not installed are skipped.
The exit code is not 0 when any part of it did not work.`,
		Example: `  thaw demo
  thaw demo --quick --out /tmp/demo
  thaw demo --keep    # then open the address that it prints`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("where thaw's companions are: %w", err)
			}
			c.Bin = filepath.Dir(self)
			c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			c.Terminal, c.Color = isTerminal(c.Stderr), useColor(c.Stdout)
			return demo.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&c.Quick, "quick", false, "run less of everything, in at most a minute")
	cmd.Flags().StringVar(&c.Out, "out", "thaw-demo", "folder of the results, created if need be")
	cmd.Flags().BoolVar(&c.Keep, "keep", false, "leave the collector and its page serving until Ctrl-C")
	return cmd
}

// isTerminal says whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// useColor says whether w is to have colours: only a terminal, and not when
// NO_COLOR is set (https://no-color.org).
func useColor(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == ""
}
