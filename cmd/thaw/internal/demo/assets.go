package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/thaw-lambda/thaw/examples"
	"github.com/thaw-lambda/thaw/layer"
)

// assets are what the demo needs besides itself, all of it made by make build
// and found beside the running binary.
type assets struct {
	collector string
	layer     string // the unpacked zip
	functions map[string]examples.Assembled
	runnable  []examples.Example
	skipped   []error
}

// prepare finds the assets and unpacks them into dir.
func prepare(ctx context.Context, bin, dir string) (*assets, error) {
	a := &assets{
		collector: filepath.Join(bin, "thaw-collector"),
		layer:     filepath.Join(dir, "layer"),
		functions: map[string]examples.Assembled{},
	}
	zip := layer.HostZip(bin)
	for _, file := range []string{a.collector, zip} {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not there: run `make build`, which puts everything the demo needs beside thaw", file)
		} else if err != nil {
			return nil, err
		}
	}
	if err := layer.Unpack(zip, a.layer); err != nil {
		return nil, fmt.Errorf("unpack the layer: %w", err)
	}
	for _, ex := range examples.All() {
		built, err := ex.Assemble(ctx, filepath.Join(dir, "functions", ex.Name), filepath.Join(bin, "examples"))
		var unavailable *examples.UnavailableError
		switch {
		case errors.As(err, &unavailable):
			a.skipped = append(a.skipped, err)
		case err != nil:
			return nil, err
		default:
			a.functions[ex.Name] = built
			a.runnable = append(a.runnable, ex)
		}
	}
	return a, nil
}
