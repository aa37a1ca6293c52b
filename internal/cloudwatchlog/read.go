package cloudwatchlog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Line is one log event.
type Line struct {
	// Input and Number say where it was read, for people.
	Input  string
	Number int
	// Time is the event's time stamp, Ingested when CloudWatch had it; zero
	// where the input does not say.
	Time, Ingested time.Time
	Account        string
	Group, Stream  string
	Message        string
	// damaged says that the input itself could not be read here.
	damaged bool
}

// Bounds of what is read.
const (
	// maxLine is above CloudWatch's bound for one event, 1 MB.
	maxLine = 4 << 20
	// maxDocument bounds a JSON document that is not one event a line.
	maxDocument = 1 << 30
)

// Source names what is read, as far as its name tells something.
type Source struct {
	// Name is shown to people.
	Name string
	// Group and Stream are known beforehand: of a live log group, or of a folder
	// of an export to S3.
	Group, Stream string
}

// FileSource makes a Source of a path. An export to S3 has a folder for each log
// stream, named like it with hyphens for slashes.
func FileSource(path string) Source {
	s := Source{Name: path}
	if m := exportFolder.FindStringSubmatch(filepath.Base(filepath.Dir(path))); m != nil {
		s.Stream = fmt.Sprintf("%s/%s/%s/%s", m[1], m[2], m[3], m[4])
	}
	return s
}

var exportFolder = regexp.MustCompile(`^(\d{4})-(\d\d)-(\d\d)-(.*\[(?:\d+|\$LATEST)\][0-9a-f]+)$`)

// Read calls yield for every log event in r, which may be gzip'ed:
//
//   - plain lines, as a program or a terminal shows them;
//   - lines that begin with the time, and perhaps the log stream: what
//     `aws logs tail` prints and an export to S3 holds;
//   - JSON of `aws logs filter-log-events` and `get-log-events`;
//   - JSON of a subscription ("logEvents"), one document or many.
func Read(r io.Reader, src Source, yield func(Line)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for range 2 { // what Firehose writes may be compressed twice
		magic, _ := in.Peek(2)
		if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			break
		}
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("read %s: unzip: %w", src.Name, err)
		}
		in = bufio.NewReaderSize(unzipped, 64<<10)
	}
	rd := &reader{src: src, yield: yield}
	var err error
	if document(in) {
		err = rd.document(in)
	} else {
		err = rd.lines(in)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", src.Name, err)
	}
	return nil
}

type reader struct {
	src    Source
	yield  func(Line)
	number int
	// pending is an event that may go on in the next lines.
	pending *Line
	// prefixed says whether the platform's lines begin with their time; nil as
	// long as there was none.
	prefixed *bool
}

// document says whether in begins with JSON that goes on over several lines.
func document(in *bufio.Reader) bool {
	head, _ := in.Peek(32 << 10)
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	if len(head) == 0 || head[0] != '{' && head[0] != '[' {
		return false
	}
	first, _, found := bytes.Cut(head, []byte("\n"))
	return found && !json.Valid(first) && len(bytes.TrimSpace(first)) < 2
}

// document reads JSON documents one after the other. Where that ends before the
// input does, the rest is read line by line.
func (rd *reader) document(in io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
	if err != nil {
		return err
	}
	if len(data) > maxDocument {
		return fmt.Errorf("the JSON document is larger than %d MB; split it, or write one event a line", maxDocument>>20)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var raw json.RawMessage
		at := dec.InputOffset()
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return rd.lines(bufio.NewReader(bytes.NewReader(data[at:])))
		}
		rd.number = 1 + bytes.Count(data[:at], []byte("\n"))
		rd.value(raw)
	}
}

// value reads one JSON value that is not a line of a log.
func (rd *reader) value(raw json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		for _, item := range list {
			rd.value(item)
		}
		return
	}
	if !rd.answer(raw) {
		rd.emit(Line{Message: compact(raw)})
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// answer is what the API, a subscription and the command line say.
type answer struct {
	Owner     string     `json:"owner"`
	LogGroup  string     `json:"logGroup"`
	LogStream string     `json:"logStream"`
	LogEvents []logEvent `json:"logEvents"`
	Events    []logEvent `json:"events"`
	logEvent
}

type logEvent struct {
	ID        string `json:"id"`
	EventID   string `json:"eventId"`
	Timestamp any    `json:"timestamp"`
	Ingestion any    `json:"ingestionTime"`
	Stream    string `json:"logStreamName"`
	Message   string `json:"message"`
}

// answer reads raw if it holds log events.
func (rd *reader) answer(raw []byte) bool {
	var a answer
	if json.Unmarshal(raw, &a) != nil {
		return false
	}
	events := a.LogEvents
	if events == nil {
		events = a.Events
	}
	if events == nil && a.Stream != "" && a.Timestamp != nil {
		events = []logEvent{a.logEvent} // one event of filter-log-events a line
	}
	if events == nil {
		return false
	}
	for _, e := range events {
		rd.emit(Line{
			Time: unixMs(e.Timestamp), Ingested: unixMs(e.Ingestion), Account: a.Owner,
			Group: a.LogGroup, Stream: first(e.Stream, a.LogStream), Message: e.Message,
		})
	}
	return true
}

func unixMs(v any) time.Time {
	if ms, ok := v.(float64); ok && ms > 0 && ms < 1e14 {
		return plausible(time.UnixMilli(int64(ms)))
	}
	return time.Time{}
}

// plausible drops times before there was Lambda, and those of a far future.
func plausible(t time.Time) time.Time {
	if t.Year() < 2014 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC()
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (rd *reader) emit(l Line) {
	l.Input = rd.src.Name
	if l.Number == 0 {
		l.Number = rd.number
	}
	l.Group, l.Stream = first(l.Group, rd.src.Group), first(l.Stream, rd.src.Stream)
	rd.yield(l)
}

// lines reads one event a line, or several lines for one where they begin with
// the time.
func (rd *reader) lines(in *bufio.Reader) error {
	for {
		text, err := readLine(in)
		if text != "" || err == nil {
			rd.number++
			rd.line(strings.TrimRight(text, "\r\n"))
		}
		if err != nil {
			rd.flush()
			if errors.Is(err, io.EOF) {
				return nil
			}
			// A torn archive: what was read counts, and the tear is said.
			rd.emit(Line{Message: err.Error(), Number: rd.number + 1, damaged: true})
			return nil
		}
	}
}

// readLine returns a line, the rest of which is dropped when it is too long.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		if b.Len() < maxLine {
			b.Write(part)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

// prefix is the time of a line, and the log stream.
var prefix = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)[ \t]+(?:(\d{4}/\d\d/\d\d/\S*\[(?:\d+|\$LATEST)\][0-9A-Za-z-]+)[ \t]+)?`)

// line takes one line. It is an event of its own, but where the platform's
// lines begin with their time: there a line without one goes on with the last.
func (rd *reader) line(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	if m := prefix.FindStringSubmatch(text); m != nil {
		rd.flush()
		rd.pending = &Line{Time: parseTime(m[1]), Stream: m[2], Message: text[len(m[0]):], Number: rd.number}
		rd.note(rd.pending.Message, true)
		return
	}
	rd.note(text, false)
	if rd.continues(text) {
		if len(rd.pending.Message) < maxLine {
			rd.pending.Message += "\n" + text
		}
		return
	}
	rd.flush()
	if text[0] == '{' && rd.documents(text) {
		return
	}
	rd.pending = &Line{Message: text, Number: rd.number}
}

// note learns from the first line of the platform how they begin.
func (rd *reader) note(message string, prefixed bool) {
	if rd.prefixed == nil && platform(message) {
		rd.prefixed = &prefixed
	}
}

// platform says whether a line looks like one of the platform's that every
// invocation has.
func platform(text string) bool {
	for _, p := range []string{"START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START", "INIT_REPORT"} {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return strings.HasPrefix(text, "{") && platformType.MatchString(text)
}

// continues says whether text belongs to the pending event.
func (rd *reader) continues(text string) bool {
	if rd.pending == nil {
		return false
	}
	if rd.prefixed != nil && !*rd.prefixed {
		return outcomeStart.MatchString(rd.pending.Message) && errorType(text) != ""
	}
	// Files of several kinds are put together now and then. A line of the
	// platform after another of its own is no part of that.
	if platform(text) && (platform(rd.pending.Message) || outcome(rd.pending.Message)) {
		return false
	}
	return !rd.pending.Time.IsZero()
}

// outcome says whether a message is one that the platform wrote about the end
// of an invocation, before its REPORT named a status.
func outcome(message string) bool {
	return outcomeStart.MatchString(message) || timedOut.MatchString(message)
}

// outcomeStart begins an event whose second line names the type of an error.
var outcomeStart = regexp.MustCompile(`^RequestId: \S+ Error: `)

func (rd *reader) flush() {
	if rd.pending != nil {
		rd.emit(*rd.pending)
		rd.pending = nil
	}
}

// documents reads a line that holds answers or subscriptions. A Firehose stream
// has several on one line.
func (rd *reader) documents(text string) bool {
	if !strings.Contains(text, `"logEvents"`) && !strings.Contains(text, `"events"`) && !strings.Contains(text, `"logStreamName"`) {
		return false
	}
	found := false
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return found
		}
		found = rd.answer(raw) || found
	}
}

// parseTime reads the times that tools write; one without a zone is UTC.
func parseTime(s string) time.Time {
	s = strings.Replace(strings.Replace(s, " ", "T", 1), ",", ".", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return plausible(t)
		}
	}
	return time.Time{}
}
