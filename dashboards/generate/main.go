// Command generate writes the JSON of Thaw's Grafana dashboards into the folder
// dashboards, wherever in the module it is started. `go generate ./dashboards`
// runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-lambda/thaw/dashboards"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := folder()
	if err != nil {
		return err
	}
	for _, d := range dashboards.All() {
		b, err := d.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, d.File), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// folder finds the dashboards in the module that holds the working directory.
func folder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "dashboards"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod at or above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}
