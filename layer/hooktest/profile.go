package hooktest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Profile is what a hook wrote.
type Profile struct {
	Runtime, Version string
	PID              int
	Origin           int64 // Unix time in µs
	Marks            map[string]string
	Records          []*Record // in the order of their starts
	Packages         []Package
	Coverage         []Coverage
	CPU              map[int]int64 // µs by the id of a record

	byID map[int]*Record
}

// Record is a module. Times are µs since the origin.
type Record struct {
	ID, Parent        int
	Kind              string
	Start, End, Bytes int64
	Flags, Name, Path string
}

// end is the end, or the end of time.
func (r *Record) end() int64 {
	if r.End == 0 {
		return math.MaxInt64
	}
	return r.End
}

// Package is what is left of a package beyond the limits.
type Package struct {
	Kind        string
	Count       int
	Self, Bytes int64
	Name        string
}

// Coverage says how many of a file's functions were executed.
type Coverage struct {
	Executed, Functions int
	Path                string
}

// Limits of layer/HOOKS.md.
const (
	MaxRecords = 4096
	MaxBytes   = 512 << 10
	maxText    = 256
)

const kinds = " cjs esm json native builtin py rb class goinit assembly "

// Parse reads a file as strictly as a hook has to write it.
func Parse(content []byte) (*Profile, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("not UTF-8")
	}
	// A line that was being written when the process was killed.
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	p := &Profile{Marks: map[string]string{}, CPU: map[int]int64{}, byID: map[int]*Record{}}
	for n, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		if err := p.line(n, strings.Split(line, "\t")); err != nil {
			return nil, fmt.Errorf("line %d %q: %w", n+1, line, err)
		}
	}
	for _, r := range p.Records {
		if r.Parent != 0 && p.byID[r.Parent] == nil {
			return nil, fmt.Errorf("record %d has a parent, %d, that is not there", r.ID, r.Parent)
		}
	}
	p.sort()
	return p, nil
}

// sort puts the records in the order of their starts.
func (p *Profile) sort() {
	slices.SortStableFunc(p.Records, func(a, b *Record) int {
		// Of two that start at once, the one that encloses the other is first.
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.end(), a.end()), cmp.Compare(a.ID, b.ID))
	})
}

// fields of each type of line, with the type.
func fields() map[string]int {
	return map[string]int{"thaw-init": 6, "m": 3, "r": 10, "p": 6, "w": 3, "c": 4, "k": 4}
}

func (p *Profile) line(n int, f []string) error {
	if want, known := fields()[f[0]]; !known || len(f) < want {
		return fmt.Errorf("%d fields", len(f))
	}
	if (n == 0) != (f[0] == "thaw-init") {
		return errors.New("the header is the first line, and no other")
	}
	var d decoder
	switch f[0] {
	case "thaw-init":
		p.Runtime, p.Version, p.PID, p.Origin = f[2], f[3], d.integer(f[4]), d.long(f[5])
		if f[1] != "1" {
			return errors.New("not version 1")
		}
	case "m":
		p.Marks[f[1]] = f[2]
	case "r":
		return p.record(f)
	case "p":
		p.Packages = append(p.Packages, Package{f[1], d.integer(f[2]), d.long(f[3]), d.long(f[4]), d.text(f[5])})
	case "w":
		p.CPU[d.integer(f[1])] = d.long(f[2])
	case "c":
		p.Coverage = append(p.Coverage, Coverage{d.integer(f[1]), d.integer(f[2]), d.text(f[3])})
	}
	return d.err
}

func (p *Profile) record(f []string) error {
	var d decoder
	r := &Record{d.integer(f[1]), d.integer(f[2]), f[3], d.long(f[4]), d.long(f[5]), d.long(f[6]), f[7], d.text(f[8]), d.text(f[9])}
	switch {
	case d.err != nil:
		return d.err
	case r.ID < 1 || r.ID == r.Parent:
		return errors.New("its id is not one")
	case !strings.Contains(kinds, " "+r.Kind+" "):
		return errors.New("no such kind")
	case r.Flags == "" || strings.Trim(r.Flags, "ela") != "" && r.Flags != "-":
		return errors.New("no such flags")
	}
	if old := p.byID[r.ID]; old != nil {
		*old = *r
		return nil
	}
	p.add(r)
	return nil
}

func (p *Profile) add(r *Record) {
	p.byID[r.ID] = r
	p.Records = append(p.Records, r)
}

// decoder remembers the first error.
type decoder struct{ err error }

func (d *decoder) integer(s string) int { return int(d.long(s)) }

func (d *decoder) long(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && d.err == nil {
		d.err = err
	}
	return n
}

func (d *decoder) text(s string) string {
	if len(s) > maxText && d.err == nil {
		d.err = fmt.Errorf("%d bytes of text are more than %d", len(s), maxText)
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			continue
		}
		i++
		at := -1
		if i < len(s) {
			at = strings.IndexByte(`tnr\`, s[i])
		}
		if at < 0 {
			if d.err == nil {
				d.err = fmt.Errorf("%q has an escape that is none", s)
			}
			return s
		}
		out.WriteByte("\t\n\r\\"[at])
	}
	return out.String()
}

// Tree is the profile as HOOKS.md normalises it: what lies below a folder, with
// the built-in modules that were loaded from there. An empty folder takes all.
func (p *Profile) Tree(below string) string {
	var b strings.Builder
	shown := map[int]int{} // depth by id
	for _, r := range p.Records {
		name, listed := p.listed(r, below)
		if !listed {
			continue
		}
		depth := 0
		for parent := p.byID[r.Parent]; parent != nil; parent = p.byID[parent.Parent] {
			if d, ok := shown[parent.ID]; ok {
				depth = d + 1
				break
			}
		}
		shown[r.ID] = depth
		open := ""
		if r.End == 0 {
			open = " open"
		}
		fmt.Fprintf(&b, "%s%s %s %s%s\n", strings.Repeat("  ", depth), r.Kind, r.Flags, escape(name), open)
	}
	return b.String()
}

// listed returns how a record is called in a normalised tree, and whether it is
// in it.
func (p *Profile) listed(r *Record, below string) (string, bool) {
	if below == "" {
		return cmp.Or(r.Path, r.Name), true
	}
	if path, ok := strings.CutPrefix(r.Path, below+"/"); ok {
		return path, true
	}
	parent := p.byID[r.Parent]
	return r.Name, r.Path == "" && r.Kind == "builtin" && parent != nil && strings.HasPrefix(parent.Path, below+"/")
}

func escape(s string) string {
	return strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`).Replace(s)
}

// Check holds what normalising hides: marks, limits, and that times nest.
func (p *Profile) Check() error {
	var errs []error
	for _, name := range []string{"bootstrap", "hook", "hook_us"} {
		if p.Marks[name] == "" {
			errs = append(errs, fmt.Errorf("no mark %s", name))
		}
	}
	if len(p.Records) > MaxRecords {
		errs = append(errs, fmt.Errorf("%d records", len(p.Records)))
	}
	for _, r := range p.Records {
		errs = append(errs, p.nests(r))
	}
	return errors.Join(errs...)
}

func (p *Profile) nests(r *Record) error {
	if r.End != 0 && r.End < r.Start {
		return fmt.Errorf("%s ends before it starts", r.Name)
	}
	parent := p.byID[r.Parent]
	if parent == nil || strings.Contains(r.Flags+parent.Flags, "a") {
		return nil
	}
	if r.Start < parent.Start || parent.End != 0 && (r.End > parent.End || r.End == 0) {
		return fmt.Errorf("%s [%d, %d] is not within %s [%d, %d]", r.Name, r.Start, r.End, parent.Name, parent.Start, parent.End)
	}
	return nil
}
