package spool

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Record is what one record held.
type Record struct {
	Source string
	Number int
	// Payload is OTLP protobuf: an ExportTraceServiceRequest.
	Payload []byte
}

// Limits of what a log can make a decoder hold. A log is what a function says:
// anybody's lines may be in it.
const (
	defaultMaxPayload = 16 << 20
	defaultMaxPending = 64 << 20
	// partialSize and partSize are what a record and a part of it cost besides
	// the data.
	partialSize, partSize = 128, 24
)

// Decoder puts records together again. The zero value is ready.
type Decoder struct {
	// MaxPayload is how large a record may be when it is decompressed, 0 means
	// 16 MiB.
	MaxPayload int64
	// MaxPending is how many bytes of incomplete records are held, 0 means 64
	// MiB. Beyond that the oldest are given up, and reported as missing unless
	// all of their lines come again.
	MaxPending int

	sources map[string]*source
	order   []string   // sources as they appeared
	pending []*partial // oldest first
	bytes   int        // what they hold
	tally   Tally
}

// Tally counts what a decoder has met.
type Tally struct {
	// Lines are the lines of ours that could be read, Duplicates those of them
	// that had come before.
	Lines, Duplicates int64
	// Damaged are the lines that begin like ours and are not as they were
	// written: cut off, or with another line inside.
	Damaged int64
	// Newer are lines of a version that this package does not know.
	Newer int64
	// Records are the records that were given back.
	Records int64
	// Corrupt are the records whose lines were all right and whose content was
	// not: no gzip, or too large.
	Corrupt int64
}

// Missing are records that cannot be given back.
type Missing struct {
	Source string
	// First and Last are the numbers of the records.
	First, Last int
	// Parts is how many parts of how many are missing of a record of which
	// others were read; 0 of 0 if nothing was.
	Parts, Of int
}

func (m Missing) String() string {
	switch {
	case m.Of > 0:
		return fmt.Sprintf("record %d of source %s: %d of %d parts", m.First, m.Source, m.Parts, m.Of)
	case m.First == m.Last:
		return fmt.Sprintf("record %d of source %s", m.First, m.Source)
	}
	return fmt.Sprintf("records %d to %d of source %s", m.First, m.Last, m.Source)
}

// Report says what a decoder has met, and what it has not.
type Report struct {
	Tally
	// Sources are all sources; Open are those of which no end was read: they
	// may go on, or may have been cut off.
	Sources, Open int
	Missing       []Missing
}

// source is one writer.
type source struct {
	done    map[int]struct{} // given back, or corrupt
	corrupt map[int]struct{}
	partial map[int]*partial
	records int // what its end says, -1 before that
}

// partial is a record of which parts are missing.
type partial struct {
	source *source
	number int
	parts  [][]byte
	have   int
	bytes  int
	gone   bool // complete or given up
}

// IsLine says whether there is a line of a spool in text. Such lines are none
// of the function's own.
func IsLine(text []byte) bool { return bytes.Contains(text, []byte(Marker)) }

// Decode reads a whole log, of lines of any length, and calls yield for every
// record. An error is that of r or of yield.
func (d *Decoder) Decode(r io.Reader, yield func(Record) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var tail []byte
	for {
		chunk, err := in.ReadSlice('\n')
		text := append(tail, chunk...)
		whole := len(text)
		if errors.Is(err, bufio.ErrBufferFull) {
			whole, err = unfinished(text), nil
		}
		for _, record := range d.Line(text[:whole]) {
			if err := yield(record); err != nil {
				return err
			}
		}
		tail = append(tail[:0], text[whole:]...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
	}
}

// unfinished returns where in the beginning of a long text a line of ours may
// begin that goes on after it.
func unfinished(text []byte) int {
	if at := bytes.LastIndex(text, []byte(Marker)); at >= 0 && len(text)-at < MaxLine {
		return at
	}
	return max(len(text)-len(Marker)+1, 0)
}

// Line reads one line of a log, or a document that holds several of ours, and
// returns the records that it completes.
func (d *Decoder) Line(text []byte) []Record {
	var out []Record
	for {
		at := bytes.Index(text, []byte(Marker))
		if at < 0 {
			return out
		}
		text = text[at+len(Marker):]
		// Of two lines that were written into one another the second may be
		// whole: it is looked for in the first one's remains.
		if record, ok := d.line(text); ok {
			out = append(out, record)
		}
	}
}

// line reads what follows the marker.
func (d *Decoder) line(text []byte) (Record, bool) {
	version, rest, ok := bytes.Cut(text[:min(len(text), MaxLine)], []byte(" "))
	switch n, isNumber := number(version); {
	case !isNumber || !ok:
		d.tally.Damaged++
		return Record{}, false
	case n != Version:
		d.tally.Newer++
		return Record{}, false
	}
	l, ok := parse(rest)
	if !ok {
		d.tally.Damaged++
		return Record{}, false
	}
	d.tally.Lines++
	return d.add(l)
}

// fields are those of a line.
type fields struct {
	source      string
	number      int
	end         bool
	part, parts int // from 0
	data        []byte
}

// parse reads a line of version 1 after the version.
func parse(text []byte) (l fields, ok bool) {
	crc, body, ok := bytes.Cut(text, []byte(" "))
	if !ok || len(crc) != crcSize {
		return l, false
	}
	want, err := strconv.ParseUint(string(crc), 16, 32)
	if err != nil {
		return l, false
	}
	rest := body
	word := func() []byte {
		var w []byte
		w, rest, _ = bytes.Cut(rest, []byte(" "))
		return w
	}
	name := word()
	if len(name) == 0 || len(name) > maxSource || len(span(name)) != len(name) {
		return l, false
	}
	l.source = string(name)
	if l.number, ok = number(word()); !ok || l.number > maxRecords {
		return l, false
	}
	if bytes.HasPrefix(rest, []byte(end)) {
		l.end = true
		return l, intact(body[:len(body)-len(rest)+len(end)], want)
	}
	part, parts, _ := bytes.Cut(word(), []byte(":"))
	if l.part, ok = number(part); !ok || l.part < 1 {
		return l, false
	}
	if l.parts, ok = number(parts); !ok || l.part > l.parts || l.parts > maxParts {
		return l, false
	}
	l.part--
	text = span(rest)
	if !intact(body[:len(body)-len(rest)+len(text)], want) {
		return l, false
	}
	l.data, err = encoding.AppendDecode([]byte{}, text)
	return l, err == nil
}

func intact(text []byte, want uint64) bool {
	return uint64(crc32.Checksum(text, checksum())) == want
}

// span returns the part of text that is base64 or a name.
func span(text []byte) []byte {
	for i, c := range text {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return text[:i]
		}
	}
	return text
}

// number reads a number that is written as we write it.
func number(text []byte) (int, bool) {
	if len(text) == 0 || len(text) > 10 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func (d *Decoder) add(l fields) (Record, bool) {
	s := d.sourceOf(l.source)
	if l.end {
		if s.records >= 0 {
			d.tally.Duplicates++
		}
		s.records = max(s.records, l.number)
		return Record{}, false
	}
	if _, done := s.done[l.number]; done {
		d.tally.Duplicates++
		return Record{}, false
	}
	p := d.partialOf(s, l)
	if len(p.parts) != l.parts {
		d.tally.Damaged++ // one of the two is not the writer's
		return Record{}, false
	}
	if p.parts[l.part] != nil {
		d.tally.Duplicates++
		return Record{}, false
	}
	p.parts[l.part] = l.data
	p.have++
	d.hold(p, len(l.data))
	if p.have < len(p.parts) {
		return Record{}, false
	}
	payload, err := d.inflate(bytes.Join(p.parts, nil))
	d.drop(p)
	s.done[p.number] = struct{}{}
	if err != nil {
		d.tally.Corrupt++
		s.corrupt[p.number] = struct{}{}
		return Record{}, false
	}
	d.tally.Records++
	return Record{Source: l.source, Number: p.number, Payload: payload}, true
}

func (d *Decoder) sourceOf(name string) *source {
	if s := d.sources[name]; s != nil {
		return s
	}
	if d.sources == nil {
		d.sources = map[string]*source{}
	}
	s := &source{done: map[int]struct{}{}, corrupt: map[int]struct{}{}, partial: map[int]*partial{}, records: -1}
	d.sources[name] = s
	d.order = append(d.order, name)
	return s
}

func (d *Decoder) partialOf(s *source, l fields) *partial {
	if p := s.partial[l.number]; p != nil {
		return p
	}
	p := &partial{source: s, number: l.number, parts: make([][]byte, l.parts)}
	s.partial[l.number] = p
	d.pending = append(d.pending, p)
	d.hold(p, partialSize+partSize*l.parts)
	return p
}

// hold charges p with n bytes, and gives up the oldest others if that is too
// much.
func (d *Decoder) hold(p *partial, n int) {
	p.bytes += n
	d.bytes += n
	limit := d.MaxPending
	if limit == 0 {
		limit = defaultMaxPending
	}
	for len(d.pending) > 1 && (d.pending[0].gone || d.bytes > limit) {
		oldest := d.pending[0]
		d.pending[0] = nil
		d.pending = d.pending[1:]
		switch {
		case oldest == p:
			d.pending = append(d.pending, p)
		case !oldest.gone:
			d.drop(oldest)
		}
	}
}

func (d *Decoder) drop(p *partial) {
	d.bytes -= p.bytes
	delete(p.source.partial, p.number)
	p.gone, p.parts = true, nil
}

func (d *Decoder) inflate(compressed []byte) ([]byte, error) {
	limit := d.MaxPayload
	if limit == 0 {
		limit = defaultMaxPayload
	}
	in, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(payload)) > limit {
		err = errors.New("too large")
	}
	return payload, err
}

// Report says what has come so far, and what has not.
func (d *Decoder) Report() Report {
	r := Report{Tally: d.tally, Sources: len(d.order)}
	for _, name := range d.order {
		s := d.sources[name]
		if s.records < 0 {
			r.Open++
		}
		r.Missing = append(r.Missing, s.missing(name)...)
	}
	return r
}

// missing lists the gaps between the numbers that are known, and what is known
// and not complete. Numbers are whatever a log says: nothing is done for each.
func (s *source) missing(name string) []Missing {
	known := slices.AppendSeq(slices.Collect(maps.Keys(s.done)), maps.Keys(s.partial))
	slices.Sort(known)
	var out []Missing
	next := 0
	gap := func(until int) {
		if next < until {
			out = append(out, Missing{Source: name, First: next, Last: until - 1})
		}
	}
	for _, n := range known {
		gap(n)
		next = n + 1
		if _, corrupt := s.corrupt[n]; corrupt {
			out = append(out, Missing{Source: name, First: n, Last: n})
		} else if p := s.partial[n]; p != nil {
			out = append(out, Missing{name, n, n, len(p.parts) - p.have, len(p.parts)})
		}
	}
	gap(s.records)
	return out
}
