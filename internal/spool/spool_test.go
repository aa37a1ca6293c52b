package spool

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var update = flag.Bool("update", false, "rewrite the example in docs/spool.md")

func pack(t testing.TB, payload []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(payload); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is a payload that no compression shrinks.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// written are the lines of a source with records of many sizes.
func written(t testing.TB, source string) (lines []string, want map[int][]byte) {
	t.Helper()
	var log []byte
	want = map[int][]byte{}
	for i, size := range []int{0, 1, 300, 15_000, 70_000} {
		want[i] = noise(uint64(i), size)
		log = AppendRecord(log, source, i, pack(t, want[i]))
	}
	log = AppendEnd(log, source, len(want))
	return slices.Collect(strings.Lines(string(log))), want
}

func decode(t testing.TB, log string) (map[int][]byte, Report) {
	t.Helper()
	var d Decoder
	got := map[int][]byte{}
	err := d.Decode(strings.NewReader(log), func(r Record) error {
		if got[r.Number] != nil {
			t.Errorf("record %d came twice", r.Number)
		}
		got[r.Number] = append([]byte{}, r.Payload...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, d.Report()
}

func TestLinesAreShort(t *testing.T) {
	lines, _ := written(t, strings.Repeat("x", maxSource))
	longest := 0
	for _, line := range lines {
		longest = max(longest, len(line))
		if !IsLine([]byte(line)) {
			t.Errorf("not recognised: %.60s", line)
		}
	}
	if longest > MaxLine || longest < MaxLine-100 {
		t.Errorf("the longest line has %d bytes, not nearly %d", longest, MaxLine)
	}
}

// TestDisguises: what tools do to a log, or put it into.
func TestDisguises(t *testing.T) {
	lines, want := written(t, "s1")
	quote := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	each := func(f func(line string) string) string {
		var b strings.Builder
		for _, line := range lines {
			b.WriteString(f(strings.TrimSuffix(line, "\n")))
		}
		return b.String()
	}
	type event struct {
		Message string `json:"message"`
	}
	var events []event
	for _, line := range lines {
		events = append(events, event{line})
	}
	shuffled := slices.Clone(lines)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(lines), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, log := range map[string]string{
		"as written":          strings.Join(lines, ""),
		"aws logs tail":       each(func(l string) string { return "2026-01-01T00:00:00.000000+00:00 2026/01/01/[$LATEST]ab " + l + "\n" }),
		"Telemetry API":       each(func(l string) string { return `{"time":"x","type":"extension","record":` + quote(l+"\n") + "}\n" }),
		"subscription":        quote(map[string]any{"logEvents": events}),
		"JSON in JSON":        quote(map[string]string{"body": quote(events)}),
		"indented":            func() string { b, _ := json.MarshalIndent(events, "", "\t"); return string(b) }(),
		"csv":                 each(func(l string) string { return `1700000000,"` + l + `"` + "\n" }),
		"carriage returns":    each(func(l string) string { return l + "\r\n" }),
		"other lines between": each(func(l string) string { return "START RequestId: x\n" + l + "\n{\"a\":1}\n\n" }),
		"no last newline":     strings.TrimSuffix(strings.Join(lines, ""), "\n"),
		"backwards":           func() string { r := slices.Clone(lines); slices.Reverse(r); return strings.Join(r, "") }(),
		"shuffled":            strings.Join(shuffled, ""),
		"without newlines":    each(func(l string) string { return l + " " }),
	} {
		got, report := decode(t, log)
		if len(got) != len(want) || report.Missing != nil || report.Damaged+report.Duplicates+report.Corrupt != 0 || report.Open != 0 || report.Sources != 1 {
			t.Errorf("%s: %d records, report %+v", name, len(got), report)
		}
		for i, payload := range want {
			if !bytes.Equal(got[i], payload) {
				t.Errorf("%s: record %d is another", name, i)
			}
		}
	}
}

// TestLossIsReported: whatever is taken away is listed, and the rest comes back.
func TestLossIsReported(t *testing.T) {
	lines, want := written(t, "s1")
	for i := range lines {
		log := strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")
		got, report := decode(t, log)
		if i == len(lines)-1 { // the end
			if len(got) != len(want) || report.Open != 1 || report.Missing != nil {
				t.Errorf("without the end: %d records, %+v", len(got), report)
			}
			continue
		}
		if len(got) != len(want)-1 || len(report.Missing) != 1 || report.Open != 0 {
			t.Errorf("without line %d: %d records, %+v", i, len(got), report)
		}
	}
	half := func(l string) string { return l[:len(l)/2] }
	for name, log := range map[string]string{
		"cut off":                half(lines[2]) + "\n",
		"cut off, then the next": half(lines[2]) + lines[3],
		"another line inside":    half(lines[2]) + lines[3] + lines[2][len(lines[2])/2:],
		"a changed byte":         strings.Replace(lines[2], "s1 2", "s1 3", 1),
		"only the marker":        Marker,
	} {
		got, report := decode(t, log)
		if report.Damaged != 1 || got[2] != nil {
			t.Errorf("%s: %+v", name, report)
		}
		if strings.Contains(log, lines[3]) && (report.Lines != 1 || len(report.Missing) == 0) {
			t.Errorf("%s: the whole line is lost, or the other is not missed: %+v", name, report)
		}
	}
}

func TestMissingReads(t *testing.T) {
	lines, _ := written(t, "s1")
	_, report := decode(t, lines[len(lines)-2]+string(AppendEnd(nil, "s1", 9))+string(AppendEnd(nil, "s2", 1)))
	var got []string
	for _, m := range report.Missing {
		got = append(got, m.String())
	}
	want := []string{
		"records 0 to 3 of source s1", "record 4 of source s1: 5 of 6 parts", "records 5 to 8 of source s1", "record 0 of source s2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestTwice(t *testing.T) {
	lines, want := written(t, "s1")
	got, report := decode(t, strings.Join(append(lines, lines...), ""))
	if len(got) != len(want) || report.Duplicates != int64(len(lines)) || report.Missing != nil {
		t.Errorf("%d records, %+v", len(got), report)
	}
	// Two sources with the same numbers are not the same records.
	others, _ := written(t, "s2")
	var d Decoder
	n := 0
	err := d.Decode(strings.NewReader(strings.Join(append(lines, others...), "")), func(Record) error { n++; return nil })
	if err != nil || n != 2*len(want) || d.Report().Sources != 2 {
		t.Errorf("%d records, %+v, %v", n, d.Report(), err)
	}
}

// TestForged: what a function could print to harm whoever reads its log.
func TestForged(t *testing.T) {
	line := func(body string) string {
		return string(finish(append([]byte(prefix+"00000000 "), body...), 0))
	}
	bomb := pack(t, make([]byte, 64<<20))
	f := func(name, log string, check func(Report) bool) {
		t.Helper()
		if got, report := decode(t, log); len(got) != 0 || !check(report) {
			t.Errorf("%s: %d records, %+v", name, len(got), report)
		}
	}
	corrupt := func(r Report) bool { return r.Corrupt == 1 && len(r.Missing) == 1 }
	damaged := func(r Report) bool { return r.Damaged >= 1 && r.Sources <= 1 }
	f("bomb", string(AppendRecord(nil, "s", 0, bomb)), corrupt)
	f("no gzip", string(AppendRecord(nil, "s", 0, []byte("hello"))), corrupt)
	f("empty", string(AppendRecord(nil, "s", 0, nil)), corrupt)
	f("huge number", line("s 99999999999 1:1 AA"), damaged)
	f("large number", line(fmt.Sprintf("s %d 1:2 AA", maxRecords)), func(r Report) bool { return len(r.Missing) == 2 })
	f("many parts", line("s 0 1:99999 AA"), damaged)
	f("part 0", line("s 0 0:1 AA"), damaged)
	f("part beyond", line("s 0 3:2 AA"), damaged)
	f("parts that disagree", line("s 0 1:3 AA")+line("s 0 2:2 AA"), damaged)
	f("leading zero", line("s 00 1:1 AA"), damaged)
	f("sign", line("s -1 1:1 AA"), damaged)
	f("long source", line(strings.Repeat("s", 33)+" 0 1:1 AA"), damaged)
	f("source with a slash", line("../s 0 1:1 AA"), damaged)
	f("newer", Marker+"2 whatever\n", func(r Report) bool { return r.Newer == 1 && r.Damaged == 0 })
	f("word", "see thaw-spool: it is a format\n", func(r Report) bool { return r.Damaged == 1 })
}

// TestPendingIsBounded: what is never completed is given up, oldest first, and
// still reported.
func TestPendingIsBounded(t *testing.T) {
	d := Decoder{MaxPending: 64 << 10}
	two := pack(t, noise(1, 20_000))
	for i := range 100 {
		first, _, _ := bytes.Cut(AppendRecord(nil, "s", i, two), []byte("\n"))
		d.Line(first)
		if d.bytes > 64<<10 || len(d.pending) > 8 {
			t.Fatalf("%d bytes, %d records are held", d.bytes, len(d.pending))
		}
	}
	if m := d.Report().Missing; len(m) < 2 || m[0].First != 0 || m[len(m)-1].Last != 99 {
		t.Errorf("missing %v", m)
	}
	// Given up is not gone: all of its lines again bring it back.
	if got := d.Line(AppendRecord(nil, "s", 0, two)); len(got) != 1 {
		t.Errorf("%d records", len(got))
	}
}

func TestReadErrors(t *testing.T) {
	lines, _ := written(t, "s1")
	bad := errors.New("disk on fire")
	var d Decoder
	err := d.Decode(io.MultiReader(strings.NewReader(strings.Join(lines, "")), iotest.ErrReader(bad)), func(Record) error { return nil })
	if !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	if err := d.Decode(strings.NewReader(string(AppendRecord(nil, "s9", 0, pack(t, nil)))), func(Record) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	// Byte by byte the log is the same.
	d = Decoder{}
	if err := d.Decode(iotest.OneByteReader(strings.NewReader(strings.Join(lines, ""))), func(Record) error { return nil }); err != nil || d.Report().Missing != nil {
		t.Errorf("%+v, %v", d.Report(), err)
	}
}

// TestDocument holds the example of the specification.
func TestDocument(t *testing.T) {
	const file = "../../docs/spool.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("the bytes of an ExportTraceServiceRequest")
	example := AppendEnd(AppendRecord(nil, "4f1d0c9ab8e27365", 0, pack(t, payload)), "4f1d0c9ab8e27365", 1)
	const from, to = "```text\n", "```\n"
	before, rest, _ := strings.Cut(string(doc), from)
	_, after, ok := strings.Cut(rest, to)
	if !ok {
		t.Fatal("the document has no example")
	}
	if want := before + from + string(example) + to + after; want != string(doc) {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			t.Errorf("the example of %s is not what the code writes: run the test with -update", file)
		}
	}
	if got, report := decode(t, string(example)); !bytes.Equal(got[0], payload) || report.Missing != nil || report.Open != 0 {
		t.Errorf("%q, %+v", got[0], report)
	}
}

// FuzzDecode: no log makes the decoder fail, hold too much or invent a record.
func FuzzDecode(f *testing.F) {
	lines, _ := written(f, "s1")
	f.Add([]byte(lines[0]))
	f.Add([]byte(lines[0] + lines[2] + lines[len(lines)-1]))
	f.Add([]byte(lines[2][:40] + lines[1]))
	f.Add([]byte(Marker + "1 00000000 a 0 1:1 "))
	f.Add([]byte(Marker + "2 x"))
	f.Fuzz(func(t *testing.T, log []byte) {
		d := Decoder{MaxPayload: 1 << 20, MaxPending: 1 << 20}
		err := d.Decode(bytes.NewReader(log), func(r Record) error {
			// Whatever is given back can be written again to the same effect.
			var again Decoder
			got := again.Line(AppendRecord(nil, r.Source, r.Number, pack(t, r.Payload)))
			if len(got) != 1 || !bytes.Equal(got[0].Payload, r.Payload) {
				t.Errorf("record %d of %q", r.Number, r.Source)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d.Report()
	})
}

// FuzzRoundTrip: a log that was shuffled, doubled, thinned and torn gives back
// what it has whole, byte for byte, and reports what it has not.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint64(1), uint8(3))
	f.Add([]byte{}, uint64(2), uint8(0))
	f.Add(noise(1, 40_000), uint64(3), uint8(7))
	f.Fuzz(func(t *testing.T, payload []byte, seed uint64, tear uint8) {
		r := rand.New(rand.NewPCG(seed, uint64(tear)))
		var log []byte
		const records = 4
		payloads := make([][]byte, records)
		for i := range records {
			payloads[i] = payload[:len(payload)*(i+1)/records]
			log = AppendRecord(log, "s", i, pack(t, payloads[i]))
		}
		log = AppendEnd(log, "s", records)
		lines := slices.Collect(strings.Lines(string(log)))
		for range tear % 8 {
			i := r.IntN(len(lines))
			switch r.IntN(4) {
			case 0:
				lines = slices.Delete(lines, i, i+1)
			case 1:
				lines = append(lines, lines[i])
			case 2:
				lines[i] = lines[i][:r.IntN(len(lines[i]))]
			case 3:
				lines[i] = "prefix " + lines[i]
			}
			if len(lines) == 0 {
				return
			}
		}
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		got, report := decode(t, strings.Join(lines, ""))
		missing := map[int]bool{}
		for _, m := range report.Missing {
			for n := m.First; n <= m.Last; n++ {
				missing[n] = true
			}
		}
		for i := range records {
			data, ok := got[i]
			switch {
			case ok && (!bytes.Equal(data, payloads[i]) || missing[i]):
				t.Errorf("record %d is another, or reported as missing", i)
			case !ok && !missing[i] && report.Open == 0 && report.Sources == 1:
				t.Errorf("record %d is lost without a word", i)
			}
		}
	})
}
