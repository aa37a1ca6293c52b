package layer

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"runtime"
)

// HostZip returns the path of the zip for this machine's architecture in bin,
// the folder that `make build` fills and that thaw lies in.
func HostZip(bin string) string {
	arch := "x86_64"
	if runtime.GOARCH == "arm64" {
		arch = "arm64"
	}
	return filepath.Join(bin, "layer", "thaw-layer-"+arch+".zip")
}

// Architecture returns Lambda's name, "x86_64" or "arm64", for the machine that
// an extension binary is for. Its error says why Lambda could not run the
// binary: it checks nothing when a layer is published, and each init of the
// function fails instead.
func Architecture(path string) (string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("layer: %s is not a Linux executable: %w", path, err)
	}
	defer file.Close()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			return "", fmt.Errorf("layer: %s is linked dynamically, and needs a loader and libraries that Lambda may not have; build it with CGO_ENABLED=0", path)
		}
	}
	switch file.Machine {
	case elf.EM_X86_64:
		return "x86_64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("layer: %s is for %v, which Lambda does not have", path, file.Machine)
}
