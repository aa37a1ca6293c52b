package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/thaw-lambda/thaw/layer"
)

func newLayerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "layer",
		Short: "Make the Lambda layer",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLayerPackCmd())
	return cmd
}

func newLayerPackCmd() *cobra.Command {
	var binary, out string
	cmd := &cobra.Command{
		Use:   "pack --binary FILE --out FILE.zip",
		Short: "Pack the extension into a layer's zip",
		Long: `Pack the extension binary into the zip of a Lambda layer, ready for
"aws lambda publish-layer-version". The same binary gives the same zip.`,
		Example: "  thaw layer pack --binary bin/thaw-extension --out thaw-layer.zip",
		Args: func(cmd *cobra.Command, args []string) error {
			if binary == "" || out == "" {
				return errors.New("both --binary and --out are needed")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := packLayer(binary, out)
			if err != nil {
				return err
			}
			architecture, err := layer.Architecture(binary)
			if err != nil {
				// Not an error: an extension may as well be a script.
				cmd.PrintErrf("thaw: warning: %v\n", err)
				architecture = "unknown architecture"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %.1f MB\n", out, architecture, float64(size)/1e6)
			return err
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "the extension's executable")
	cmd.Flags().StringVar(&out, "out", "", "the zip to write")
	return cmd
}

// packLayer writes the zip and returns its size. A zip that was there before
// stays as it is until the new one is complete.
func packLayer(binary, out string) (size int64, err error) {
	in, err := os.Open(binary)
	if err != nil {
		return 0, fmt.Errorf("pack layer: %w", err)
	}
	defer in.Close()
	temporary, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".*")
	if err != nil {
		return 0, fmt.Errorf("pack layer: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	if err := errors.Join(layer.Pack(temporary, in), temporary.Chmod(0o644), temporary.Close()); err != nil {
		return 0, fmt.Errorf("pack layer: %w", err)
	}
	info, err := os.Stat(temporary.Name())
	if err != nil {
		return 0, fmt.Errorf("pack layer: %w", err)
	}
	if err := os.Rename(temporary.Name(), out); err != nil {
		return 0, fmt.Errorf("pack layer: %w", err)
	}
	return info.Size(), nil
}
