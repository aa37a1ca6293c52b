package examples

import (
	"fmt"
	"path"
	"path/filepath"
)

// WriteRuntimeClient writes the runtime client for an interpreter ("node" or
// "python3") into the folder dir and returns its path. The client loads the
// handler that _HANDLER names from the folder LAMBDA_TASK_ROOT.
func WriteRuntimeClient(interpreter, dir string) (string, error) {
	source := runtimeClient(interpreter)
	client := filepath.Join(dir, path.Base(source))
	if err := extract(source, client); err != nil {
		return "", fmt.Errorf("write the runtime client for %s: %w", interpreter, err)
	}
	return client, openToAll(dir)
}
