// Package classlog reads what a JVM writes with
//
//	-Xlog:class+load=info:file=...:uptimenanos,timemillis:filecount=0
//
// one line for each class that it loads:
//
//	[1795509739143ms][153494409ns] com.fasterxml.jackson.core.JsonFactory source: file:/var/task/lib/jackson-core-2.17.jar
//
// The log tells when a class was loaded and from where, not why, and not for how
// long. [Profile] takes what passed since the class before for its time, and
// draws neighbours from one jar, or one package of the JDK, together.
package classlog

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// MaxBytes is how much of a log is read: some ten thousand classes.
const MaxBytes = 2 << 20

const (
	maxRecords = 4096
	maxUptime  = 24 * time.Hour
)

// Class is a line.
type Class struct {
	// Uptime is since the JVM's start.
	Uptime time.Duration
	// At is the same by the wall clock, to the millisecond.
	At   time.Time
	Name string
	// Path is the jar or folder it came from, empty for the JDK's own and for
	// what was made at run time.
	Path string
}

// ParseLine reads a line.
func ParseLine(line string) (Class, bool) {
	at, line, ok := stamp(line, "ms]")
	if !ok {
		return Class{}, false
	}
	uptime, line, ok := stamp(line, "ns]")
	name, source, found := strings.Cut(strings.TrimRight(line, "\r\n"), " source: ")
	name = strings.TrimPrefix(name, " ")
	if !ok || uptime > int64(maxUptime) || !found || name == "" || strings.ContainsAny(name, " \t") {
		return Class{}, false
	}
	c := Class{Uptime: time.Duration(uptime), At: time.UnixMilli(at).UTC(), Name: name}
	if path, ok := strings.CutPrefix(strings.TrimPrefix(source, "jar:"), "file:"); ok {
		c.Path, _, _ = strings.Cut(path, "!/")
	}
	return c, true
}

// stamp reads "[123ns]" at the beginning of a line.
func stamp(line, end string) (n int64, rest string, ok bool) {
	line, ok = strings.CutPrefix(line, "[")
	digits, rest, found := strings.Cut(line, end)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, rest, ok && found && err == nil && n >= 0 && n < 1<<53
}

// group is what neighbours have to have in common.
func (c *Class) group() string {
	if c.Path != "" {
		return c.Path
	}
	parts := strings.SplitN(c.Name, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// Profile makes an init profile of a log. A last line without its end is torn.
// It returns nil where nothing can be read.
func Profile(data []byte) *initprofile.Profile {
	p := &initprofile.Profile{Runtime: "java", Facts: map[string]string{initprofile.FactHook: "java/class+load"}}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	var before time.Duration
	var group string
	for line := range bytes.Lines(data) {
		c, ok := ParseLine(string(line))
		if !ok || c.Uptime < before {
			continue
		}
		switch {
		case p.Origin.IsZero(): // what passed before the first class is the JVM's own start
			p.Origin = c.At.Add(-c.Uptime)
			before = c.Uptime
			p.Facts[initprofile.FactBootstrap] = strconv.FormatInt(c.Uptime.Microseconds(), 10)
		case group == c.group() && len(p.Records) > 0:
			p.Records[len(p.Records)-1].End = c.Uptime
			before = c.Uptime
			continue
		}
		if len(p.Records) >= maxRecords {
			p.Facts[initprofile.FactTruncated] = "1"
			break
		}
		group = c.group()
		p.Records = append(p.Records, initprofile.Record{
			ID: len(p.Records) + 1, Kind: initprofile.Class, Start: before, End: c.Uptime, Approximate: true, Name: c.Name, Path: c.Path, CPU: -1,
		})
		before = c.Uptime
	}
	if len(p.Records) == 0 {
		return nil
	}
	return p
}
