package initprofile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is that of the wire.
const Version = 1

// MaxBytes is how much of a file is read. Hooks stop at half of it.
const MaxBytes = 1 << 20

const (
	maxRecords  = 8192
	maxTotals   = 1024
	maxFacts    = 64
	maxPackages = 2048
	maxCoverage = 8192
	maxID       = 1 << 30
	maxTime     = 24 * time.Hour
	// maxName bounds names, paths and values. Hooks cut at 256.
	maxName = 512
)

// ErrNotProfile says that a file does not begin like one.
var ErrNotProfile = errors.New("not an init profile")

// Parse reads a file. What follows its first MaxBytes, and a last line without
// a line feed, which was torn, is not read.
func Parse(data []byte) (*Profile, error) {
	cut := len(data) > MaxBytes
	if cut {
		data = data[:MaxBytes]
	}
	end := bytes.LastIndexByte(data, '\n')
	if end < 0 {
		return nil, ErrNotProfile
	}
	header, rest, _ := bytes.Cut(data[:end+1], []byte{'\n'})
	p, err := parseHeader(string(header))
	if err != nil {
		return nil, err
	}
	r := reader{Profile: p, byID: map[int]int{}}
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		r.line(line)
	}
	r.join()
	if cut {
		p.Facts[FactTruncated] = "1"
	}
	return p, nil
}

func parseHeader(line string) (*Profile, error) {
	f := strings.Split(line, "\t")
	if f[0] != "thaw-init" || len(f) < 6 {
		return nil, ErrNotProfile
	}
	if f[1] != strconv.Itoa(Version) {
		return nil, fmt.Errorf("an init profile of version %.16q: this Thaw reads version %d", f[1], Version)
	}
	p := &Profile{Runtime: field(f[2]), RuntimeVersion: field(f[3]), Facts: map[string]string{}}
	pid, pidErr := strconv.ParseUint(f[4], 10, 31)
	origin, err := strconv.ParseInt(f[5], 10, 64)
	if pidErr != nil || err != nil || origin < 0 || origin > 1<<53 {
		return nil, fmt.Errorf("%w: its first line has no process and time", ErrNotProfile)
	}
	p.PID, p.Origin = int(pid), time.UnixMicro(origin).UTC()
	return p, nil
}

// reader is a Profile in the making.
type reader struct {
	*Profile
	byID map[int]int
	cpu  map[int]time.Duration
}

func (r *reader) line(line []byte) {
	tag, rest, _ := strings.Cut(string(line), "\t")
	f := strings.Split(rest, "\t")
	ok := true
	switch tag {
	case "m":
		ok = r.fact(f)
	case "r":
		ok = r.record(f)
	case "p":
		ok = r.total(f)
	case "w":
		ok = r.cpuOf(f)
	case "c":
		ok = r.coverage(f)
	case "k":
		ok = r.pkg(f)
	}
	if !ok {
		r.Skipped++
	}
}

func (r *reader) fact(f []string) bool {
	if len(f) < 2 {
		return false
	}
	name := field(f[0])
	if _, known := r.Facts[name]; name == "" || !known && len(r.Facts) >= maxFacts {
		return false
	}
	r.Facts[name] = field(f[1])
	return true
}

func (r *reader) record(f []string) bool {
	if len(f) < 9 {
		return false
	}
	var n numbers
	rec := Record{
		ID: int(n.upTo(f[0], maxID)), Parent: int(n.upTo(f[1], maxID)), Kind: Kind(field(f[2])),
		Start: n.time(f[3]), End: n.time(f[4]), Bytes: n.upTo(f[5], 1<<40),
		Name: field(f[7]), Path: field(f[8]), CPU: -1,
	}
	if rec.ID == 0 {
		return false
	}
	rec.Open = rec.End == 0
	if !rec.Open {
		rec.End = max(rec.End, rec.Start)
	}
	rec.Threw = strings.Contains(f[6], "e")
	rec.Late = strings.Contains(f[6], "l")
	rec.Approximate = strings.Contains(f[6], "a")
	if _, more, ok := strings.Cut(f[6], "s"); ok {
		rec.More = int(n.upTo(more, maxID))
	}
	if n.bad {
		return false
	}
	if at, ok := r.byID[rec.ID]; ok {
		r.Records[at] = rec
		return true
	}
	if len(r.Records) >= maxRecords {
		r.Facts[FactTruncated] = "1"
		return false
	}
	r.byID[rec.ID] = len(r.Records)
	r.Records = append(r.Records, rec)
	return true
}

func (r *reader) total(f []string) bool {
	if len(f) < 5 || len(r.Totals) >= maxTotals {
		return false
	}
	var n numbers
	t := Total{Kind: Kind(field(f[0])), Count: n.upTo(f[1], maxID), Self: n.time(f[2]), Bytes: n.upTo(f[3], 1<<40), Name: field(f[4])}
	if n.bad {
		return false
	}
	// A hook writes its totals again when they have grown.
	for i := range r.Totals {
		if r.Totals[i].Name == t.Name && r.Totals[i].Kind == t.Kind {
			r.Totals[i] = t
			return true
		}
	}
	r.Totals = append(r.Totals, t)
	return true
}

func (r *reader) cpuOf(f []string) bool {
	if len(f) < 2 || len(r.cpu) >= maxRecords {
		return false
	}
	var n numbers
	id, cpu := int(n.upTo(f[0], maxID)), n.time(f[1])
	if n.bad {
		return false
	}
	if r.cpu == nil {
		r.cpu = map[int]time.Duration{}
	}
	r.cpu[id] = cpu
	return true
}

// join adds to the records what other lines say of them: those may come first.
func (r *reader) join() {
	for id, cpu := range r.cpu {
		if at, ok := r.byID[id]; ok {
			r.Records[at].CPU = cpu
		}
	}
}

func (r *reader) coverage(f []string) bool {
	if len(f) < 3 || len(r.Coverage) >= maxCoverage {
		return false
	}
	var n numbers
	c := Coverage{Hit: n.upTo(f[0], maxID), Functions: n.upTo(f[1], maxID), Path: field(f[2])}
	if n.bad || c.Hit > c.Functions {
		return false
	}
	r.Coverage = append(r.Coverage, c)
	return true
}

func (r *reader) pkg(f []string) bool {
	if len(f) < 3 || len(r.Packages) >= maxPackages {
		return false
	}
	k := Package{field(f[0]), field(f[1]), field(f[2])}
	if k.Name == "" || k.Root == "" {
		return false
	}
	r.Packages = append(r.Packages, k)
	return true
}

// numbers parses integers and remembers whether one was out of range.
type numbers struct{ bad bool }

func (n *numbers) upTo(s string, limit int64) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 || v > limit {
		n.bad = true
		return 0
	}
	return v
}

func (n *numbers) time(s string) time.Duration {
	return time.Duration(n.upTo(s, maxTime.Microseconds())) * time.Microsecond
}

var (
	unescaper = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r")
	escaper   = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)
)

// field reads a text: unescaped, valid UTF-8, and not longer than it may be. Of
// what is too long the end is kept, which for a path says more.
func field(s string) string {
	s = strings.ToValidUTF8(unescaper.Replace(s), "\uFFFD")
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[len(s)-maxName:], "")
	}
	return s
}

// WriteTo writes the profile as a file that Parse reads.
func (p *Profile) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "thaw-init\t%d\t%s\t%s\t%d\t%d\n", Version, escaper.Replace(p.Runtime), escaper.Replace(p.RuntimeVersion), p.PID, p.Origin.UnixMicro())
	for _, name := range slices.Sorted(maps.Keys(p.Facts)) {
		line(&b, "m", name, p.Facts[name])
	}
	for _, k := range p.Packages {
		line(&b, "k", k.Name, k.Version, k.Root)
	}
	for i := range p.Records {
		p.Records[i].append(&b)
	}
	for _, t := range p.Totals {
		line(&b, "p", string(t.Kind), integer(t.Count), micros(t.Self), integer(t.Bytes), t.Name)
	}
	for _, c := range p.Coverage {
		line(&b, "c", integer(c.Hit), integer(c.Functions), c.Path)
	}
	return b.WriteTo(w)
}

func (r *Record) append(b *bytes.Buffer) {
	end := "0"
	if !r.Open {
		// 0 says open, so what ended with the origin ends a little later.
		end = micros(max(r.End, time.Microsecond))
	}
	flags := ""
	for _, f := range []struct {
		is   bool
		flag string
	}{{r.Threw, "e"}, {r.Late, "l"}, {r.Approximate, "a"}} {
		if f.is {
			flags += f.flag
		}
	}
	if r.More > 0 {
		flags += "s" + strconv.Itoa(r.More)
	}
	if flags == "" {
		flags = "-"
	}
	line(b, "r", strconv.Itoa(r.ID), strconv.Itoa(r.Parent), string(r.Kind), micros(r.Start), end, integer(r.Bytes), flags, r.Name, r.Path)
	if r.CPU >= 0 {
		line(b, "w", strconv.Itoa(r.ID), micros(r.CPU))
	}
}

func line(b *bytes.Buffer, tag string, fields ...string) {
	b.WriteString(tag)
	for _, f := range fields {
		b.WriteByte('\t')
		_, _ = escaper.WriteString(b, f)
	}
	b.WriteByte('\n')
}

func integer(n int64) string        { return strconv.FormatInt(n, 10) }
func micros(d time.Duration) string { return integer(d.Microseconds()) }
