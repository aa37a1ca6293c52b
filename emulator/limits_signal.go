package emulator

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"
)

// stopPatience bounds the wait for stopped processes.
const stopPatience = 100 * time.Millisecond

// signalLimits are what is left without control groups: freezing by SIGSTOP
// and ending by SIGKILL, for process groups. A process that left its group
// escapes. Nothing limits CPU or memory.
type signalLimits struct {
	// What only some systems tell; nil if this one does not.
	peak    func(groups []int) (int64, bool) // memory of the groups
	stopped func(pid int) bool               // whether a stop has taken effect

	mu     sync.Mutex
	groups []int
}

func (l *signalLimits) add(pid int, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = append(l.groups, pid) // a process that we start leads its own group
	return nil
}

func (l *signalLimits) list() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.groups)
}

// signal sends sig to all groups. One that is gone is no error.
func (l *signalLimits) signal(sig syscall.Signal) error {
	var errs []error
	for _, group := range l.list() {
		if err := syscall.Kill(-group, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *signalLimits) throttle() error { return nil }
func (l *signalLimits) thaw() error     { return l.signal(syscall.SIGCONT) }

// freeze waits until the leaders of the groups have stopped: the signal takes
// effect a little later, and nobody tells when.
func (l *signalLimits) freeze() error {
	if err := l.signal(syscall.SIGSTOP); err != nil || l.stopped == nil {
		return err
	}
	deadline := time.Now().Add(stopPatience)
	for _, pid := range l.list() {
		for !l.stopped(pid) && time.Now().Before(deadline) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	return nil
}

func (l *signalLimits) kill() error {
	err := l.signal(syscall.SIGKILL)
	l.forget()
	return err
}

// forget drops groups that are gone, before their numbers belong to others.
func (l *signalLimits) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = nil
}

func (l *signalLimits) peakMemory() (int64, bool) {
	if l.peak == nil {
		return 0, false
	}
	return l.peak(l.list())
}

func (l *signalLimits) balance() error { return nil }
func (l *signalLimits) oomKills() int  { return 0 }
func (l *signalLimits) close() error   { return nil }
