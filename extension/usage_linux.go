package extension

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// Bounds of what is held. A descriptor costs nothing but its number.
const (
	maxProcesses = 32
	maxThreads   = 128
	// maxForeign bounds the memory for processes that are not the function's,
	// and so for how long a number is taken for that of the same process.
	maxForeign = 1024
	// maxEnviron bounds what is read of another process's environment. Lambda
	// permits 4 KB of variables besides its own.
	maxEnviron = 32 << 10
)

// procSource reads /proc. Files that are read every time stay open: reading one
// takes about a microsecond, opening it ten.
type procSource struct {
	runtimeAPI string // ours: the processes of the environment share it
	ours       string // the directory that extensions are started from
	uid        uint32
	pid, ppid  int

	load, stat, network *procFile
	// tmp is the mount point of a file system that is the environment's own.
	tmp string

	processes []*process
	foreign   map[int]bool
	// lastPID is the newest process or thread at the last look for new ones:
	// while it is the newest, there are none.
	lastPID string
	buf     []byte
}

// process is one of the function's. root says that the platform started it.
type process struct {
	pid     int
	root    bool
	begun   time.Time
	cpu     time.Duration
	ended   time.Duration // CPU time of its children that have ended
	status  *procFile
	threads []*thread
	crowded bool // more threads than we read
}

type thread struct {
	threadReading
	file *procFile
}

func newUsageSource(env func(string) string) usageSource {
	s := &procSource{
		runtimeAPI: env("AWS_LAMBDA_RUNTIME_API"),
		uid:        uint32(os.Getuid()), pid: os.Getpid(), ppid: os.Getppid(),
		foreign: map[int]bool{},
	}
	if len(os.Args) > 0 {
		s.ours = filepath.Dir(os.Args[0])
	}
	return s
}

// open is done with the first reading, not in the init.
func (s *procSource) open() {
	s.buf = make([]byte, 4<<10)
	s.load, s.stat, s.network = openProc("/proc/loadavg"), openProc("/proc/stat"), openProc("/proc/net/dev")
	if ownFileSystem("/tmp") {
		s.tmp = "/tmp"
	}
}

// read is made to be cheap while nothing new is started, which is nearly
// always: some ten microseconds, and one for each thread.
func (s *procSource) read() reading {
	if s.buf == nil {
		s.open()
	}
	r := reading{}
	s.clocks(&r)
	if s.newcomers() || r.gone {
		s.scan()
		r.processes = len(s.processes)
	}
	for _, p := range s.processes {
		if p.root && (r.begun.IsZero() || p.begun.Before(r.begun)) {
			r.begun = p.begun
		}
		r.cpu += p.cpu + p.ended
		r.readThreads(s, p)
		r.readStatus(s, p)
	}
	slices.SortFunc(r.threads, func(a, b threadReading) int { return cmp.Compare(a.id, b.id) })
	r.readMachine(s)
	return r
}

// clocks reads the CPU clocks first of all: they are what is compared.
func (s *procSource) clocks(r *reading) {
	s.processes = slices.DeleteFunc(s.processes, func(p *process) bool {
		cpu, err := processClock(p.pid)
		if err != nil {
			r.gone = r.gone || p.root
			s.lastPID = "" // its children and its time have gone elsewhere
			p.close()
			return true
		}
		p.cpu = cpu
		return false
	})
	r.processes = len(s.processes)
}

// processClock reads the CPU clock of another process: all of its threads,
// those that have ended too, in nanoseconds. The clock's number is made of the
// process's as the C library's clock_getcpuclockid does it.
func processClock(pid int) (time.Duration, error) {
	var ts syscall.Timespec
	const schedClock = 2
	id := ^pid<<3 | schedClock
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, errno
	}
	return time.Duration(ts.Nano()), nil
}

// newcomers says whether a process or a thread may have been started since the
// last scan. The last field of /proc/loadavg is the newest number given out.
func (s *procSource) newcomers() bool {
	fields := bytes.Fields(s.load.read(s.buf))
	if len(fields) == 0 {
		return true
	}
	newest := string(fields[len(fields)-1])
	if newest == s.lastPID {
		return false
	}
	s.lastPID = newest
	return true
}

// scan looks for processes and threads that are new.
func (s *procSource) scan() {
	if len(s.foreign) > maxForeign {
		clear(s.foreign)
	}
	known := func(pid int) bool {
		return slices.ContainsFunc(s.processes, func(p *process) bool { return p.pid == pid })
	}
	var candidates []int
	for _, pid := range numbers("/proc") {
		if pid == s.pid || s.foreign[pid] || known(pid) {
			continue
		}
		switch s.classify(pid, known) {
		case functions:
			s.adopt(pid)
		case unclear:
			candidates = append(candidates, pid)
		case others:
			s.foreign[pid] = true
		}
	}
	if len(s.processes) == 0 {
		// Nothing shows whose they are: then what the platform started beside
		// us, and is no extension, is the function.
		for _, pid := range candidates {
			s.adopt(pid)
		}
	}
	for _, p := range s.processes {
		p.ended = endedChildren(p.pid)
		p.scanThreads()
	}
}

type whose int

const (
	others whose = iota
	functions
	unclear
)

// classify says whose a process is. The function's have a _HANDLER in their
// environment, which Lambda keeps from extensions, and our Runtime API. A
// child that has another environment is told by its parent.
func (s *procSource) classify(pid int, known func(int) bool) whose {
	dir := "/proc/" + strconv.Itoa(pid)
	parent := parentOf(pid)
	if known(parent) {
		return functions
	}
	var info syscall.Stat_t
	if syscall.Stat(dir, &info) != nil {
		return others // it has ended
	}
	if info.Uid == s.uid {
		environ := readBounded(dir+"/environ", maxEnviron)
		api, hasAPI := variable(environ, "AWS_LAMBDA_RUNTIME_API=")
		_, hasHandler := variable(environ, "_HANDLER=")
		switch {
		case hasAPI && (api != s.runtimeAPI || !hasHandler):
			return others
		case hasAPI:
			return functions
		}
	}
	if parent != s.ppid {
		return others
	}
	command, _, _ := bytes.Cut(readBounded(dir+"/cmdline", maxEnviron), []byte{0})
	if len(command) == 0 || filepath.Dir(string(command)) == s.ours {
		return others
	}
	return unclear
}

func variable(environ []byte, prefix string) (string, bool) {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(prefix)); ok {
			return string(value), true
		}
	}
	return "", false
}

func (s *procSource) adopt(pid int) {
	if len(s.processes) >= maxProcesses {
		return
	}
	cpu, err := processClock(pid)
	if err != nil {
		return
	}
	s.processes = append(s.processes, &process{
		pid: pid, root: parentOf(pid) == s.ppid, begun: begunAt(pid), cpu: cpu,
		status: openProc("/proc/" + strconv.Itoa(pid) + "/status"),
	})
}

func (p *process) close() {
	p.status.close()
	for _, t := range p.threads {
		t.file.close()
	}
}

func (p *process) scanThreads() {
	dir := "/proc/" + strconv.Itoa(p.pid) + "/task"
	ids := numbers(dir)
	p.crowded = len(ids) > maxThreads
	p.threads = slices.DeleteFunc(p.threads, func(t *thread) bool {
		gone := !slices.Contains(ids, t.id)
		if gone {
			t.file.close()
		}
		return gone
	})
	for _, id := range ids {
		if len(p.threads) >= maxThreads {
			break
		}
		if slices.ContainsFunc(p.threads, func(t *thread) bool { return t.id == id }) {
			continue
		}
		if file := openProc(dir + "/" + strconv.Itoa(id) + "/schedstat"); file != nil {
			p.threads = append(p.threads, &thread{threadReading{id: id}, file})
		}
	}
}

// readThreads reads time on a CPU and run delay, in nanoseconds both.
func (r *reading) readThreads(s *procSource, p *process) {
	readable := 0
	for _, t := range p.threads {
		fields := bytes.Fields(t.file.read(s.buf))
		if len(fields) < 2 {
			continue // it has ended since
		}
		readable++
		t.running, t.delay = nanoseconds(fields[0]), nanoseconds(fields[1])
		r.threads = append(r.threads, t.threadReading)
	}
	if readable == 0 || p.crowded {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageRunDelay)
	}
}

func (r *reading) readStatus(s *procSource, p *process) {
	status := p.status.read(s.buf)
	memory, ok := statusField(status, "VmHWM:")
	if !ok {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageMemory)
	}
	threads, ok := statusField(status, "Threads:")
	if !ok {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageThreads)
	}
	r.peakMemory += memory << 10
	r.threadCount += threads
}

func statusField(status []byte, name string) (int64, bool) {
	_, rest, ok := bytes.Cut(status, []byte("\n"+name))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(line), []byte("kB")))), 10, 64)
	return n, err == nil
}

// readMachine reads what belongs to the environment as a whole.
func (r *reading) readMachine(s *procSource) {
	line, _, _ := bytes.Cut(s.stat.read(s.buf), []byte("\n"))
	const stealField = 8 // cpu user nice system idle iowait irq softirq steal
	if fields := bytes.Fields(line); len(fields) > stealField {
		r.steal = time.Duration(number(fields[stealField])) * tick
	} else {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageSteal)
	}
	if interfaces := s.network.read(s.buf); len(interfaces) > 0 {
		r.received, r.sent = traffic(interfaces)
	} else {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageNetwork)
	}
	var fs syscall.Statfs_t
	if s.tmp != "" && syscall.Statfs(s.tmp, &fs) == nil {
		r.tmp = int64(fs.Blocks-fs.Bfree) * int64(fs.Bsize)
	} else {
		r.unreadable = withNames(r.unreadable, lifecycle.UsageTmp)
	}
}

// tick is the unit of times in /proc/stat and /proc/PID/stat.
const tick = 10 * time.Millisecond

// traffic adds up the bytes of all network interfaces but loopback.
func traffic(interfaces []byte) (received, sent int64) {
	for line := range bytes.Lines(interfaces) {
		name, counters, ok := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(counters)
		if !ok || len(fields) < 9 || string(bytes.TrimSpace(name)) == "lo" {
			continue
		}
		received += number(fields[0])
		sent += number(fields[8])
	}
	return received, sent
}

// ownFileSystem says whether a whole file system is mounted there, as on
// Lambda: of a directory of a larger one, its fill says nothing.
func ownFileSystem(dir string) bool {
	for line := range bytes.Lines(readBounded("/proc/self/mountinfo", 256<<10)) {
		fields := strings.Fields(string(line)) // id parent device root mount-point ...
		if len(fields) > 4 && fields[4] == dir {
			return fields[3] == "/"
		}
	}
	return false
}

// afterName returns the fields of /proc/PID/stat after the name, which may
// contain anything: the state is the first.
func afterName(pid int) [][]byte {
	stat := readBounded("/proc/"+strconv.Itoa(pid)+"/stat", 4<<10)
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}

func parentOf(pid int) int {
	if fields := afterName(pid); len(fields) > 1 {
		return int(number(fields[1]))
	}
	return 0
}

// begunAt is when a process began, rounded down to a clock tick; the zero time
// if that cannot be read. Its number counts from the machine's start, in time
// that goes on in a freeze.
func begunAt(pid int) time.Time {
	const startTime = 22 - 3 // counting from the state, the third
	fields := afterName(pid)
	var sinceBoot syscall.Timespec
	const bootTime = 7
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, bootTime, uintptr(unsafe.Pointer(&sinceBoot)), 0)
	if len(fields) <= startTime || errno != 0 {
		return time.Time{}
	}
	age := time.Duration(sinceBoot.Nano()) - time.Duration(number(fields[startTime]))*tick
	return time.Now().Add(-age)
}

// endedChildren is the CPU time of a process's children that have ended and
// been waited for. There is no finer clock for them than ticks.
func endedChildren(pid int) time.Duration {
	const cutime, cstime = 16 - 3, 17 - 3 // counting from the state, the third
	fields := afterName(pid)
	if len(fields) <= cstime {
		return 0
	}
	return time.Duration(number(fields[cutime])+number(fields[cstime])) * tick
}

// numbers lists the entries of a directory that are numbers.
func numbers(dir string) []int {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func readBounded(path string, limit int) []byte {
	f := openProc(path)
	defer f.close()
	var out []byte
	chunk := make([]byte, 4<<10)
	for len(out) < limit {
		n := f.readAt(chunk, int64(len(out)))
		if n <= 0 {
			break
		}
		out = append(out, chunk[:n]...)
	}
	return out
}

func nanoseconds(b []byte) time.Duration { return time.Duration(number(b)) }

// number reads a counter, 0 if it is none.
func number(b []byte) int64 {
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// procFile is a descriptor of a file in /proc, nil if it cannot be opened. It
// is not an os.File, which would register it with the network poller.
type procFile struct{ fd int }

func openProc(path string) *procFile {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &procFile{fd}
}

// read reads from the beginning, as much as fits; nothing on an error.
func (f *procFile) read(buf []byte) []byte { return buf[:max(f.readAt(buf, 0), 0)] }

func (f *procFile) readAt(buf []byte, offset int64) int {
	if f == nil {
		return 0
	}
	for {
		n, err := syscall.Pread(f.fd, buf, offset)
		if err != syscall.EINTR {
			return n
		}
	}
}

func (f *procFile) close() {
	if f != nil {
		_ = syscall.Close(f.fd) // nothing was written
	}
}

func (s *procSource) close() {
	for _, p := range s.processes {
		p.close()
	}
	for _, f := range []*procFile{s.load, s.stat, s.network} {
		f.close()
	}
}
