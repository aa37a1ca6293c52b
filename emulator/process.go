package emulator

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// Roles of processes.
const (
	roleRuntime   = "runtime"
	roleExtension = "extension"
)

// maxLine bounds one log line; CloudWatch's limit is 256 KB.
const maxLine = 256 << 10

// processSpec is what to execute.
type processSpec struct {
	role, name string
	argv       []string // argv[0] is the path, or a name to be found in PATH
	vars       variables
	dir        string
	oomScore   int // the higher, the earlier it is killed for want of memory
}

// launch is a process that waits for the word to execute.
type launch struct {
	cmd     *exec.Cmd
	execute func() error // returns when the program runs, or a *launchError
	abandon func()       // ends it without executing
}

// launchError is a program that could not be executed.
type launchError struct{ text string }

func (e *launchError) Error() string { return e.text }

// is reports whether the operating system's reason was errno.
func (e *launchError) is(errno syscall.Errno) bool { return e.text == errno.Error() }

// process is one process of a boot: the runtime or an extension.
type process struct {
	spec   processSpec
	launch launch
	out    *lineReader

	running bool          // its program was executed; only the environment asks
	exited  chan struct{} // closed when it has ended
	status  string        // how it ended, in the words of os/exec; valid once exited
}

// prepareProcess sets a process up to the point where it only has to be told
// to execute. Its output, both streams in one, goes to onLine.
func (env *environment) prepareProcess(spec processSpec, onLine func(string)) (*process, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", spec.name, err)
	}
	l, err := env.e.host.launch(env, spec, writer)
	if closeErr := writer.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = reader.Close()
		return nil, fmt.Errorf("prepare %s: %w", spec.name, err)
	}
	out, err := newLineReader(reader, onLine)
	if err != nil {
		l.abandon()
		return nil, fmt.Errorf("prepare %s: %w", spec.name, err)
	}
	return &process{spec: spec, launch: l, out: out, exited: make(chan struct{})}, nil
}

// execute lets the process run its program.
func (p *process) execute() error {
	if err := p.launch.execute(); err != nil {
		p.abandon()
		return err
	}
	p.running = true
	return nil
}

// watch follows a running process in goroutines of wg. onExit is called once,
// after the last line.
func (p *process) watch(wg *sync.WaitGroup, onExit func()) {
	wg.Go(p.out.run)
	wg.Go(func() {
		p.status = exitStatus(p.launch.cmd.Wait())
		p.out.drain()
		onExit()
		close(p.exited)
	})
}

// abandon ends a process that was never executed.
func (p *process) abandon() {
	p.launch.abandon()
	_ = p.out.close()
}

func (p *process) pid() int { return p.launch.cmd.Process.Pid }

// signal sends sig to the process group, unless its leader has ended: its
// number may be another's then.
func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(-p.pid(), sig) // it may have ended just now
	}
}

// Ends of processes, in the words of os/exec.
const (
	statusExit0  = "exit status 0"
	statusKilled = "signal: killed"
)

// exitStatus is the end of a process in words: "exit status 1", "signal: killed".
func exitStatus(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return statusExit0
	case errors.As(err, &exit):
		return exit.ProcessState.String()
	default:
		return err.Error()
	}
}

// lineReader turns what a process writes into lines. Because it reads without
// blocking, under its lock, drain can read what is there at a given moment:
// so the lines that a function wrote before it answered come before the
// platform's word that it is done.
type lineReader struct {
	file *os.File
	conn syscall.RawConn
	emit func(string)

	mu   sync.Mutex
	line []byte
}

func newLineReader(file *os.File, emit func(string)) (*lineReader, error) {
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &lineReader{file: file, conn: conn, emit: emit}, nil
}

// run reads until all writers are gone, or close.
func (r *lineReader) run() {
	_ = r.conn.Read(func(fd uintptr) bool { return r.readAvailable(int(fd)) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush() // a last line without its end
}

// drain reads what was written before the call.
func (r *lineReader) drain() {
	_ = r.conn.Control(func(fd uintptr) { r.readAvailable(int(fd)) })
}

func (r *lineReader) close() error { return r.file.Close() }

// readAvailable reads what can be read at once, and reports whether that was
// the end. A process that writes without pause does not hold it for ever.
func (r *lineReader) readAvailable(fd int) (end bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	buf := make([]byte, 16<<10)
	for range 64 {
		n, err := syscall.Read(fd, buf)
		switch {
		case n > 0:
			r.feed(buf[:n])
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			return true
		}
	}
	return false
}

func (r *lineReader) feed(data []byte) {
	for _, c := range data {
		r.line = append(r.line, c)
		if c == '\n' || len(r.line) >= maxLine {
			r.flush()
		}
	}
}

func (r *lineReader) flush() {
	if len(r.line) > 0 {
		r.emit(string(r.line))
		r.line = r.line[:0]
	}
}
