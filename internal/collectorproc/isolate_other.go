//go:build !linux

package collectorproc

import (
	"os/exec"
	"syscall"
)

// isolate keeps the terminal's Ctrl-C from the collector.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
