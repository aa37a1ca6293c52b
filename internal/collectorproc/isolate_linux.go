package collectorproc

import (
	"os/exec"
	"syscall"
)

// isolate keeps the terminal's Ctrl-C from the collector, which has to outlive
// the functions whose last spans it receives. If this process is killed, the
// kernel ends the collector too: SIGTERM, so that it writes what it holds.
//
// The signal is sent when the thread that started the collector ends; Go keeps
// threads unless a goroutine that is locked to one exits, which none does here.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
