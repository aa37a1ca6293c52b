package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/report/curve"
	"github.com/thaw-lambda/thaw/report/evaluate"
)

// evaluateFlags are what `thaw evaluate` can be asked for.
type evaluateFlags struct {
	json, sequential, compare bool
}

func newEvaluateCmd() *cobra.Command {
	var f evaluateFlags
	cmd := &cobra.Command{
		Use:   "evaluate FILE",
		Short: "Hold the memory model against measured curves",
		Long: `Evaluate shows the memory model of the report three sizes of each curve in a file (the
first, the middle and the last), and prints how the size that it would recommend
compares with the one that really is the cheapest. Curves need at least four sizes.

FILE is JSON: {"curves": [{"name", "group", "memory_mb": [...], "duration_ms": [...],
"cost_usd": [...]}]}; costs may be left out, and curves of one group belong together.
A file of maxday/lambda-perf is read too; its curves are first invocations.
- is standard input.`,
		Example: `  thaw evaluate memory-curves.json
  thaw evaluate --sequential --json memory-curves.json
  thaw evaluate --compare memory-curves.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print JSON; ratios of cost where 1 is perfect, errors as shares")
	flags.BoolVar(&f.sequential, "sequential", false, "let the model choose the three sizes, one after the other")
	flags.BoolVar(&f.compare, "compare", false, "compare with other models, with groups held out and intervals by bootstrap")
	cmd.MarkFlagsMutuallyExclusive("sequential", "compare")
	return cmd
}

func (f *evaluateFlags) run(name string, stdin io.Reader, stdout io.Writer) error {
	file, err := readCurves(name, stdin)
	if err != nil {
		return err
	}
	switch {
	case f.compare:
		return f.print(stdout, file, evaluate.Compare(file.Curves))
	case f.sequential:
		return f.print(stdout, file, evaluate.Sequential(file.Curves, curve.Default()))
	}
	return f.print(stdout, file, evaluate.Run(file.Curves, evaluate.Thaw()))
}

func readCurves(name string, stdin io.Reader) (*evaluate.File, error) {
	if name == "-" {
		return evaluate.Read(stdin)
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := evaluate.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// result is what an evaluation comes to.
type result interface{ Write(io.Writer) error }

func (f *evaluateFlags) print(stdout io.Writer, file *evaluate.File, r result) error {
	if f.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	if len(file.Ratios) > 0 {
		evaluate.WriteRatios(stdout, file.Ratios)
		fmt.Fprintln(stdout)
	}
	return r.Write(stdout)
}
