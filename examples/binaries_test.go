package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is where TestMain's run of the Go tool puts the compiled examples.
var built = sync.OnceValues(buildBinaries)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// binaries is the directory with the compiled examples, as make build makes it.
func binaries(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func buildBinaries() (string, error) {
	dir, err := os.MkdirTemp("", "thaw-examples-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"thumbnail", "catalog-index", "flaky"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "lambda.norpc",
			"-o", filepath.Join(dir, name, "bootstrap"), "./"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, output)
		}
	}
	return dir, nil
}
