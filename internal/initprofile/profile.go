package initprofile

import (
	"strconv"
	"time"
)

// Kind says what a record is of.
type Kind string

// Kinds of record.
const (
	CJS      Kind = "cjs"
	ESM      Kind = "esm"
	JSON     Kind = "json"
	Native   Kind = "native"
	Builtin  Kind = "builtin"
	Python   Kind = "py"
	Ruby     Kind = "rb"
	Class    Kind = "class"
	GoInit   Kind = "goinit"
	Assembly Kind = "assembly"
	// Other is many small modules of many packages, drawn together to make the
	// profile fit.
	Other Kind = "other"
)

// OtherName is the package of Other.
const OtherName = "(other)"

// Names of facts that hooks and the extension write on m lines. Those that end
// in us, and those without a unit that are marks, are microseconds since the
// origin.
const (
	FactProcessStart = "process_start"
	FactBootstrap    = "bootstrap"
	FactHandlerBegin = "handler_begin"
	FactHandlerEnd   = "handler_end"
	FactFirstNext    = "first_next"
	FactHookUS       = "hook_us"
	FactTruncated    = "truncated"
	FactHook         = "hook"
	FactESM          = "esm"
	FactTaskRoot     = "task_root"
	FactCPUBegin     = "cpu_begin_us"
	FactCPUEnd       = "cpu_end_us"
	FactCompileCache = "compile_cache"
	FactSourceMaps   = "source_maps"

	// Facts that the extension adds, from the files themselves.
	FactOptRoot    = "opt_root"
	FactPycChecked = "pyc_checked" // modules whose bytecode was looked for
	FactPycMissing = "pyc_missing" // of these, how many have none
	FactMapBytes   = "map_bytes"   // size of the source maps beside loaded files
)

// Record is one module, class, package or assembly that was loaded.
type Record struct {
	ID, Parent int
	Kind       Kind
	// Start and End are since the origin of the profile. Open is set where the
	// end was not written: it was being loaded when the file was.
	Start, End time.Duration
	Open       bool
	Bytes      int64
	// Threw says that loading it failed; Late, that it was loaded after the
	// first invocation began; Approximate, that its time is an estimate.
	Threw, Late, Approximate bool
	// More counts small modules of the same package and importer that were
	// drawn together into this one, to make the profile fit.
	More       int
	Name, Path string
	// CPU is the CPU time of the process between Start and End, negative where
	// that is not known.
	CPU time.Duration
}

// Total is what a hook kept of a package when it ran into its limits.
type Total struct {
	Kind  Kind
	Count int64
	Self  time.Duration
	Bytes int64
	Name  string
}

// Coverage says how many functions of a file were run by the first invocation.
type Coverage struct {
	Hit, Functions int64
	Path           string
}

// Package is a package and the folder (or file) it lies in.
type Package struct {
	Name, Version, Root string
}

// Profile is what one file says.
type Profile struct {
	Runtime, RuntimeVersion string
	PID                     int
	Origin                  time.Time
	Facts                   map[string]string
	Records                 []Record
	Totals                  []Total
	Coverage                []Coverage
	Packages                []Package
	// Skipped counts lines that could not be read, a torn last one not
	// included.
	Skipped int
}

// Mark returns a fact that is a time since the origin.
func (p *Profile) Mark(name string) (time.Duration, bool) {
	us, err := strconv.ParseInt(p.Facts[name], 10, 64)
	if err != nil || us < -maxTime.Microseconds() || us > maxTime.Microseconds() {
		return 0, false
	}
	return time.Duration(us) * time.Microsecond, true
}

// Number returns a fact that is a count, 0 where it is absent or nonsense.
func (p *Profile) Number(name string) int64 {
	n, err := strconv.ParseInt(p.Facts[name], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// HookCost is the time that the hook spent, by its own accounting.
func (p *Profile) HookCost() time.Duration {
	d, _ := p.Mark(FactHookUS)
	return max(d, 0)
}

// Truncated says whether the hook or the extension left records out.
func (p *Profile) Truncated() bool {
	return p.Facts[FactTruncated] == "1" || len(p.Totals) > 0
}

// Ended is the last moment that the file knows of: until then, at least, what
// is open was being loaded.
func (p *Profile) Ended() time.Duration {
	var last time.Duration
	for i := range p.Records {
		if r := &p.Records[i]; !r.Late {
			last = max(last, r.Start, r.End)
		}
	}
	for _, name := range []string{FactHandlerBegin, FactHandlerEnd} {
		if at, ok := p.Mark(name); ok {
			last = max(last, at)
		}
	}
	return last
}
