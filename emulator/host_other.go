//go:build !linux

package emulator

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// host is a machine without control groups and namespaces.
type host struct{ enforcement Enforcement }

func newHost(context.Context, *Emulator) (*host, error) {
	const why = "not enforced: not Linux"
	return &host{enforcement: Enforcement{
		CPU: why, Memory: why, Freeze: "SIGSTOP of process groups", User: "same user",
		Namespaces: "none: not Linux", Kernel: runtime.GOOS, CPUs: runtime.NumCPU(),
	}}, nil
}

func (h *host) close() error                           { return nil }
func (h *host) otherUser() bool                        { return false }
func (h *host) makeRoot(string) error                  { return nil }
func (h *host) newLimits(*environment) (limits, error) { return &signalLimits{}, nil }

func (h *host) translateCommand(f *Function) error {
	if len(f.Command) > 0 {
		f.Command[0] = lookPath(f.Command[0])
	}
	return nil
}

func (h *host) paths(f *function, tmp string) files {
	return files{task: f.taskDir, opt: f.optDir, tmp: tmp, hostOpt: f.optDir}
}

// launch prepares nothing: the start of the process is the execution.
func (h *host) launch(env *environment, p processSpec, out *os.File) (launch, error) {
	own, err := syscall.Dup(int(out.Fd())) // the caller closes its own at once
	if err != nil {
		return launch{}, err
	}
	output := os.NewFile(uintptr(own), "output")
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.vars.list(), p.dir, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return launch{
		cmd: cmd,
		execute: func() error {
			defer output.Close()
			if err := cmd.Start(); err != nil {
				return &launchError{text: reason(err)}
			}
			return env.limits.add(cmd.Process.Pid, p.role)
		},
		abandon: func() { _ = output.Close() },
	}, nil
}
