// Package goinit profiles the init of functions written in Go, which no hook
// can enter: a managed wrapper does not exist for them, and their packages are
// initialised before main.
//
// What the linker wrote into the binary is always there: the version of Go and
// of every module ([ReadBuild]). With GODEBUG=inittrace=1 the Go runtime writes a
// line to standard error for each package that had something to initialise; they
// come with the function's log ([Trace]). [Profile] makes an init profile of both.
package goinit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// Line is a line of GODEBUG=inittrace=1:
//
//	init main @2.3 ms, 39 ms clock, 7569616 bytes, 152112 allocs
type Line struct {
	Package string
	// At is when its initialisation began, since the Go runtime's own start,
	// and Clock how long it took, without the packages that it imports.
	At, Clock time.Duration
	// Bytes and Allocs are what it allocated.
	Bytes, Allocs int64
}

// maxField bounds numbers: what is larger was not written by Go.
const maxField = 24 * time.Hour

// ParseLine reads a line. Most lines of a log are none.
func ParseLine(text string) (Line, bool) {
	rest, ok := strings.CutPrefix(strings.TrimRight(text, "\r\n"), "init ")
	if !ok {
		return Line{}, false
	}
	name, rest, ok := strings.Cut(rest, " @")
	fields := strings.Split(rest, ", ")
	if !ok || name == "" || len(name) > 256 || strings.ContainsAny(name, " \t") || len(fields) != 4 {
		return Line{}, false
	}
	l := Line{Package: name}
	errs := errors.Join(
		duration(&l.At, fields[0], " ms"), duration(&l.Clock, fields[1], " ms clock"),
		count(&l.Bytes, fields[2], " bytes"), count(&l.Allocs, fields[3], " allocs"),
	)
	return l, errs == nil
}

func duration(d *time.Duration, field, unit string) error {
	text, ok := strings.CutSuffix(field, unit)
	ms, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(ms >= 0 && ms < float64(maxField.Milliseconds())) {
		return fmt.Errorf("%q are no milliseconds", field)
	}
	*d = time.Duration(ms * float64(time.Millisecond))
	return nil
}

func count(n *int64, field, unit string) error {
	text, ok := strings.CutSuffix(field, unit)
	value, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || value < 0 {
		return fmt.Errorf("%q is no number", field)
	}
	*n = value
	return nil
}

// maxLines bounds a trace: the largest programs initialise some hundred packages.
const maxLines = 2048

// Trace collects the lines of an init. Its zero value is ready; it may be used
// by several goroutines.
type Trace struct {
	mu     sync.Mutex
	lines  []Line
	origin time.Time
}

// Add takes a line of the log, which was written at a time, if it is of an init.
func (t *Trace) Add(text string, at time.Time) {
	l, ok := ParseLine(text)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) >= maxLines {
		return
	}
	// A line is written when the package is done, and read a little later.
	if begun := at.Add(-l.At - l.Clock); t.origin.IsZero() || begun.Before(t.origin) {
		t.origin = begun
	}
	t.lines = append(t.lines, l)
}

// Take returns the lines so far and when Go's runtime began, and forgets them.
func (t *Trace) Take() ([]Line, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines, origin := t.lines, t.origin
	t.lines, t.origin = nil, time.Time{}
	return lines, origin
}

// maxModules bounds the modules that travel.
const maxModules = 1024

// Profile makes an init profile. Without lines it names the modules; without a
// build it guesses them.
func Profile(lines []Line, origin time.Time, build Build) *initprofile.Profile {
	p := &initprofile.Profile{Runtime: "go", Origin: origin.UTC(), Facts: map[string]string{initprofile.FactHook: "go/buildinfo"}}
	if len(lines) > 0 {
		p.Facts[initprofile.FactHook] = "go/inittrace"
	}
	for i, l := range slices.SortedStableFunc(slices.Values(lines), func(a, b Line) int { return cmp.Compare(a.At, b.At) }) {
		p.Records = append(p.Records, initprofile.Record{
			ID: i + 1, Kind: initprofile.GoInit, Start: l.At, End: l.At + l.Clock, Name: l.Package, CPU: -1,
		})
	}
	if build.BuildInfo == nil {
		return p
	}
	p.RuntimeVersion = build.GoVersion
	p.Facts["binary_bytes"] = strconv.FormatInt(build.Size, 10)
	p.Facts["go_modules"] = strconv.Itoa(len(build.Deps))
	for _, m := range build.Deps[:min(len(build.Deps), maxModules)] {
		used := m
		if m.Replace != nil {
			used = m.Replace
		}
		// Packages are told by how their names begin, whatever replaced them.
		p.Packages = append(p.Packages, initprofile.Package{Name: m.Path, Version: used.Version, Root: m.Path})
	}
	return p
}
