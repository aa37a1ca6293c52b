package emulator

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// withRuntimeFlags adds to the command of a managed runtime the flags that
// Lambda sets by memory size: V8 would otherwise size its heap by the memory of
// the host. A command that has such a flag already is left alone.
func withRuntimeFlags(command []string, runtime string, memoryMB int) []string {
	if !strings.HasPrefix(runtime, "nodejs") || len(command) == 0 || filepath.Base(command[0]) != "node" {
		return command
	}
	var flags []string
	for name, share := range map[string]int{"--max-old-space-size": 90, "--max-semi-space-size": 5} {
		set := slices.ContainsFunc(command, func(arg string) bool { return strings.HasPrefix(arg, name) })
		if !set {
			flags = append(flags, name+"="+strconv.Itoa(max(memoryMB*share/100, 1)))
		}
	}
	slices.Sort(flags)
	return slices.Concat(command[:1], flags, command[1:])
}
