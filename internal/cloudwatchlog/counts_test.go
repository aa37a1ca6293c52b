package cloudwatchlog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	id1 = "b92a770e-7c92-4a13-84e3-613428ff991f"
	id2 = "c3252230-0b5c-4b2e-9d6e-0d3b4a6f8d11"
	id3 = "d783b35e-a91d-4251-af17-035953428a2c"
)

func start(id string) string { return "START RequestId: " + id + " Version: $LATEST\n" }
func end(id string) string   { return "END RequestId: " + id + "\n" }
func rep(id, more string) string {
	return "REPORT RequestId: " + id + "\tDuration: 3.10 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 95 MB\t" + more + "\n"
}
func whole(id, more string) string { return start(id) + end(id) + rep(id, more) }

const (
	cold     = "Init Duration: 542.01 ms\t"
	timeout  = "Status: timeout"
	exitCode = "Status: error\tError Type: Runtime.ExitError"
)

// read reads an input as one file.
func read(t testing.TB, name, input string) *Log {
	t.Helper()
	a := NewAssembler(Known{Before: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err := Read(strings.NewReader(input), FileSource(name), a.Add); err != nil {
		t.Fatal(err)
	}
	return a.Finish()
}

// counts are those that must be right: invocations, cold starts, errors,
// timeouts, unparsed.
type counts [5]int64

func countsOf(s *Summary) counts {
	return counts{s.Invocations, s.ColdStarts, s.Errors, s.Timeouts, s.Unparsed}
}

// at puts the time, and a stream if there is one, before every line, as aws logs
// tail does. Each line comes a second after the one before.
func at(stream, lines string) string {
	var b strings.Builder
	clock := time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
		fmt.Fprintf(&b, "%s %s %s\n", clock.Format("2006-01-02T15:04:05.000000+00:00"), stream, line)
		clock = clock.Add(time.Second)
	}
	return b.String()
}

const stream1, stream2 = "2026/11/24/[$LATEST]569c0c34c7489e6a97ad08b44190aaaa", "2026/11/24/[$LATEST]669c0c34c7489e6a97ad08b44190bbbb"

func TestCounts(t *testing.T) {
	f := func(what, input string, want counts) {
		t.Helper()
		if got := countsOf(read(t, "f.log", input).Summary()); got != want {
			t.Errorf("%s: invocations, cold starts, errors, timeouts, unparsed are %v, want %v", what, got, want)
		}
	}
	f("nothing", "", counts{})
	f("one", whole(id1, ""), counts{1})
	f("cold", whole(id1, cold), counts{1, 1})
	f("spaces for tabs", strings.ReplaceAll(whole(id1, cold), "\t", " "), counts{1, 1})
	f("windows line ends", strings.ReplaceAll(whole(id1, cold), "\n", "\r\n"), counts{1, 1})
	f("X-Ray", start(id1)+end(id1)+rep(id1, cold)+"XRAY TraceId: 1-6a507b87-0cc4438344b48ef127ab1931\tSegmentId: d0025b207c551fde\tSampled: true\t\n", counts{1, 1})
	f("restore", whole(id1, "Restore Duration: 500.80 ms\tBilled Restore Duration: 53 ms"), counts{1, 1})
	f("new style timeout", whole(id1, timeout), counts{1, 0, 0, 1})
	f("new style error", whole(id1, exitCode), counts{1, 0, 1})
	f("old style timeout before END", start(id1)+"2024-03-04T17:22:38.033Z "+id1+" Task timed out after 3.00 seconds\n\n"+end(id1)+rep(id1, ""), counts{1, 0, 0, 1})
	f("old style timeout after REPORT", whole(id1, "")+"2024-03-04T17:22:38.033Z "+id1+" Task timed out after 3.00 seconds\n", counts{1, 0, 0, 1})
	f("old style exit", start(id1)+"RequestId: "+id1+" Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"+end(id1)+rep(id1, ""), counts{1, 0, 1})
	f("old style exit after REPORT", whole(id1, "")+"RequestId: "+id1+" Error: Runtime exited without providing a reason\nRuntime.ExitError\n", counts{1, 0, 1})
	f("oldest style exit", whole(id1, "")+"RequestId: "+id1+" Process exited before completing request\n", counts{1, 0, 1})
	f("both styles for one", start(id1)+"2024-03-04T17:22:38.033Z "+id1+" Task timed out after 3.00 seconds\n"+end(id1)+rep(id1, timeout), counts{1, 0, 0, 1})
	f("handled exception", start(id1)+"[ERROR] ValueError: no\nTraceback (most recent call last):\n  File \"app.py\"\n"+end(id1)+rep(id1, ""), counts{1})
	f("lines with and without their time", "2026-11-20T10:00:00.000Z INIT_START Runtime Version: python:3.12.v27\n"+whole(id1, "")+start(id2)+end(id2)+rep(id2, timeout), counts{2, 0, 0, 1})
	f("an application's words", start(id1)+"RequestId: is my favourite header\nTask timed out after 3.00 seconds, said the queue\nINFO REPORT RequestId: x\nEND of the story\n"+end(id1)+rep(id1, ""), counts{1})

	f("REPORT without START", rep(id1, cold), counts{1, 1})
	f("START without REPORT", start(id1), counts{1})
	f("END alone", end(id1), counts{1})
	f("REPORT before START", rep(id1, "")+start(id1)+end(id1), counts{1})
	f("START twice", start(id1)+whole(id1, ""), counts{1})
	f("REPORT twice", whole(id1, "")+rep(id1, ""), counts{1})
	f("everything twice", whole(id1, cold)+whole(id1, cold), counts{1, 1})
	f("a retry", whole(id1, exitCode)+whole(id1, strings.Replace(cold, "542", "641", 1)), counts{2, 1, 1})
	f("a retry that times out like the first", whole(id1, timeout)+whole(id1, timeout), counts{2, 0, 0, 2})
	f("interleaved", start(id1)+start(id2)+end(id2)+start(id3)+end(id1)+rep(id2, cold)+rep(id1, timeout)+end(id3)+rep(id3, ""), counts{3, 1, 0, 1})

	f("init fails, then again in the invocation", "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"+whole(id1, ""), counts{1, 1})
	f("suppressed init fails", "INIT_REPORT Init Duration: 4.87 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError\n"+whole(id1, exitCode), counts{1, 1, 1})
	f("INIT_START names the cold start", "INIT_START Runtime Version: python:3.12.v27\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:fb4a5c\n"+whole(id1, cold), counts{1, 1})
	f("INIT_START of a function that crashed at once", "INIT_START Runtime Version: python:3.12.v27\n"+start(id1), counts{1, 1})
	f("extensions", "EXTENSION\tName: thaw\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\nTELEMETRY\tName: thaw\tState: Subscribed\tTypes: [Platform, Function]\n"+whole(id1, ""), counts{1})

	f("a torn REPORT", start(id1)+"REPORT RequestId: "+id1+"\tDuration: 3.1", counts{1, 0, 0, 0, 1})
	f("a REPORT of nonsense", "REPORT RequestId: "+id1+"\tDuration: banana ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\n", counts{0, 0, 0, 0, 1})
	f("a REPORT of nothing", "REPORT RequestId: \n", counts{0, 0, 0, 0, 1})
	f("an unknown status", whole(id1, "Status: splendid"), counts{1, 0, 0, 0, 1})
	f("a torn platform event", `{"time":"2024-02-09T08:42:44.080Z","type":"platform.report","record":{"requestId":"`+"\n", counts{0, 0, 0, 0, 1})
	f("an application's JSON", `{"level":"INFO","message":"platform.report"}`+"\n"+`{"level":"INFO","mess`+"\n", counts{})
}

func TestCountsOfJSONFormat(t *testing.T) {
	f := func(what string, want counts, lines ...string) {
		t.Helper()
		if got := countsOf(read(t, "f.log", strings.Join(lines, "\n")).Summary()); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	started := `{"time":"2022-10-21T14:05:03.165Z","type":"platform.start","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","version":"$LATEST"}}`
	f("cold", counts{1, 1},
		`{"time":"2022-10-21T14:05:02.600Z","type":"platform.initStart","record":{"initializationType":"on-demand","phase":"init","runtimeVersion":"nodejs:20.v22","functionName":"hello","functionVersion":"$LATEST","instanceMaxMemory":134217728}}`,
		`{"time":"2022-10-21T14:05:03.160Z","type":"platform.initReport","record":{"initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":549.04}}}`,
		started,
		`{"timestamp":"2022-10-21T14:05:04.000Z","level":"INFO","requestId":"459921b5-681c-4a96-beb0-81e0aa586026","message":"hello"}`,
		`{"time":"2022-10-21T14:05:05.760Z","type":"platform.runtimeDone","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","status":"success","metrics":{"durationMs":2590.1,"producedBytes":50}}}`,
		`{"time":"2022-10-21T14:05:05.766Z","type":"platform.report","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","metrics":{"durationMs":2599.4,"billedDurationMs":2600,"memorySizeMB":128,"maxMemoryUsedMB":94,"initDurationMs":549.04},"status":"success"}}`,
	)
	f("an init that nobody waited for", counts{1},
		`{"time":"2022-10-21T13:05:02.600Z","type":"platform.initStart","record":{"initializationType":"on-demand","phase":"init","functionName":"hello","functionVersion":"$LATEST"}}`,
		`{"time":"2022-10-21T13:05:03.160Z","type":"platform.initReport","record":{"initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":549.04}}}`,
		started,
		`{"time":"2022-10-21T14:05:05.766Z","type":"platform.report","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","metrics":{"durationMs":2599.4,"billedDurationMs":2600,"memorySizeMB":128,"maxMemoryUsedMB":94,"initDurationMs":549.04},"status":"success"}}`,
	)
	f("a timeout", counts{1, 0, 0, 1}, started,
		`{"time":"2022-10-21T14:05:08.562Z","type":"platform.runtimeDone","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","status":"timeout","metrics":{"durationMs":5001.182,"producedBytes":0}}}`,
		`{"time":"2022-10-21T14:05:08.581Z","type":"platform.report","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","metrics":{"durationMs":5000.0,"billedDurationMs":5000,"memorySizeMB":128,"maxMemoryUsedMB":94},"status":"timeout"}}`)
	f("a fault", counts{1, 0, 1}, started, `{"time":"2022-10-21T14:05:08.581Z","type":"platform.fault","record":"RequestId: 459921b5-681c-4a96-beb0-81e0aa586026 Process exited before completing request"}`)
	f("a crash of which only the run is known", counts{1, 0, 1}, started,
		`{"time":"2022-10-21T14:05:08.562Z","type":"platform.runtimeDone","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":133.61,"producedBytes":0}}}`)
	f("a restore", counts{1, 1},
		`{"time":"2022-10-21T14:05:02.600Z","type":"platform.restoreStart","record":{"functionName":"hello","functionVersion":"3"}}`,
		`{"time":"2022-10-21T14:05:03.100Z","type":"platform.restoreReport","record":{"status":"success","metrics":{"durationMs":511.25}}}`,
		started,
		`{"time":"2022-10-21T14:05:03.312Z","type":"platform.report","record":{"requestId":"459921b5-681c-4a96-beb0-81e0aa586026","status":"success","metrics":{"durationMs":147.156,"billedDurationMs":201,"memorySizeMB":512,"maxMemoryUsedMB":91,"restoreDurationMs":500.795,"billedRestoreDurationMs":53}}}`)
	f("a platform event of some later Lambda", counts{}, `{"time":"2022-10-21T14:05:02.600Z","type":"platform.novelty","record":{"a":1}}`)
	f("a report without a request", counts{0, 0, 0, 0, 1}, `{"time":"2022-10-21T14:05:02.600Z","type":"platform.report","record":{"metrics":{"durationMs":1}}}`)
}

// One life, as every tool writes it: the counts are the same.
func TestCountsOfForms(t *testing.T) {
	life := whole(id1, cold) + start(id2) + "2026-11-24T07:00:04.000Z\t" + id2 + "\tERROR\tno\n    at app.js:1\n" + end(id2) + rep(id2, exitCode) + start(id3)
	want := counts{3, 1, 1}
	events := apiEvents(t, life)
	subscription := func(part []map[string]any) string {
		return marshal(t, map[string]any{"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/aws/lambda/checkout", "logStream": stream1, "logEvents": part}, "")
	}
	for form, input := range map[string]string{
		"plain":                      life,
		"tail":                       at(stream1, life),
		"tail --format short":        shortTail(life),
		"export to S3":               strings.ReplaceAll(strings.ReplaceAll(at(stream1, life), stream1+" ", ""), "+00:00", "Z"),
		"filter-log-events":          marshal(t, map[string]any{"events": events, "searchedLogStreams": []any{}}, "    "),
		"filter-log-events, compact": marshal(t, map[string]any{"events": events}, ""),
		"filter-log-events, an event a line": func() string {
			var b strings.Builder
			for _, e := range events {
				b.WriteString(marshal(t, e, "") + "\n")
			}
			return b.String()
		}(),
		"a list of pages":             "[\n" + marshal(t, map[string]any{"events": events[:3]}, "  ") + ",\n" + marshal(t, map[string]any{"events": events[3:]}, "  ") + "\n]",
		"overlapping pages":           marshal(t, map[string]any{"events": events[:5]}, "  ") + "\n" + marshal(t, map[string]any{"events": events[2:]}, "  "),
		"subscription":                subscription(events),
		"Firehose":                    subscription(events[:4]) + subscription(events[4:]),
		"Firehose, a document a line": subscription(events[:4]) + "\n" + subscription(events[4:]) + "\n",
		"gzip":                        zip(t, at(stream1, life)),
		"gzip twice":                  zip(t, zip(t, subscription(events))),
	} {
		l := read(t, "f.log", input)
		s := l.Summary()
		if got := countsOf(s); got != want {
			t.Errorf("%s: %v, want %v: %+v", form, got, want, s)
		}
		if s.WithoutReport != 1 {
			t.Errorf("%s: %d without REPORT, want 1", form, s.WithoutReport)
		}
		if strings.Contains(form, "subscription") && (s.Functions[0].Name != "checkout" || s.Functions[0].Account != "123456789012") {
			t.Errorf("%s: function %s of account %s", form, s.Functions[0].Name, s.Functions[0].Account)
		}
		if strings.Contains(form, "filter-log-events") && (s.LogLatency == nil || s.LogLatency.MeanMS != 700) {
			t.Errorf("%s: log latency %+v, want 700 ms", form, s.LogLatency)
		}
	}
}

// apiEvents makes of lines what the API returns. Continuation lines belong to
// their event.
func apiEvents(t *testing.T, lines string) []map[string]any {
	t.Helper()
	var out []map[string]any
	clock := time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			last := out[len(out)-1]
			last["message"] = last["message"].(string) + line + "\n"
			continue
		}
		out = append(out, map[string]any{
			"eventId": fmt.Sprint(len(out)), "logStreamName": stream1, "timestamp": clock.UnixMilli(),
			"ingestionTime": clock.UnixMilli() + 700, "message": line + "\n",
		})
		clock = clock.Add(time.Second)
	}
	return out
}

func shortTail(lines string) string {
	var b strings.Builder
	clock := time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
	for line := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n") {
		fmt.Fprintf(&b, "%s %s\n\n", clock.Format("2006-01-02T15:04:05"), line)
		clock = clock.Add(time.Second)
	}
	return b.String()
}

func marshal(t *testing.T, v any, indent string) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", indent)
	if indent == "" {
		b, err = json.Marshal(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func zip(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStreams(t *testing.T) {
	f := func(what, input string, want counts, retries int64) {
		t.Helper()
		s := read(t, "f.log", input).Summary()
		if got := countsOf(s); got != want || s.Retries != retries {
			t.Errorf("%s: %v and %d retries, want %v and %d", what, got, s.Retries, want, retries)
		}
	}
	f("the same request in two environments", at(stream1, whole(id1, exitCode))+at(stream2, whole(id1, cold)), counts{2, 1, 1}, 1)
	f("the same file twice", at(stream1, whole(id1, cold))+at(stream1, whole(id1, cold)), counts{1, 1}, 0)
	f("a retry in the same environment, with the same figures", at(stream1, whole(id1, timeout)+strings.Repeat("working\n", 60)+whole(id1, timeout)), counts{2, 0, 0, 2}, 1)
	f("an environment that is reset", at(stream1, "INIT_START Runtime Version: a\n"+whole(id1, cold+exitCode)+"INIT_START Runtime Version: a\n"+whole(id2, "")), counts{2, 2, 1}, 0)
	f("what a stack trace quotes", at(stream1, start(id1)+"Error: no")+"REPORT RequestId: x\nSTART RequestId: "+id3+" Version: 1\n"+at(stream1, end(id1)+rep(id1, "")), counts{1}, 0)
	f("provisioned", at(stream1, "INIT_START Runtime Version: a\n"+strings.Repeat("init\n", 60)+whole(id1, "")), counts{1}, 0)
}

// What an application wrote is nowhere in what is kept.
func TestApplicationTextIsNotKept(t *testing.T) {
	const secret = "hunter2"
	input := at(stream1, start(id1)+"password="+secret+"\n"+end(id1)+rep(id1, ""))
	b, err := json.Marshal(read(t, "f.log", input).Summary())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret) {
		t.Errorf("the application's text is in the summary: %s", b)
	}
}

// Broken lines are shown cut and harmless.
func TestBrokenLinesAreCut(t *testing.T) {
	s := read(t, "f.log", "REPORT RequestId: \x1b[31m"+strings.Repeat("x", 5000)+"\n"+strings.Repeat("REPORT RequestId: !\n", 50)).Summary()
	if s.Unparsed != 51 || len(s.Broken) != maxBroken {
		t.Errorf("%d unparsed, %d shown", s.Unparsed, len(s.Broken))
	}
	if text := s.Broken[0].Text; len(text) > 200 || strings.Contains(text, "\x1b") {
		t.Errorf("shown as %q", text)
	}
}

func TestTornArchive(t *testing.T) {
	zipped := zip(t, at(stream1, whole(id1, cold)+strings.Repeat("noise of an application\n", 3000)))
	s := read(t, "000000.gz", zipped[:len(zipped)-20]).Summary()
	if s.Invocations != 1 || s.Unparsed != 1 {
		t.Errorf("%d invocations, %d unparsed", s.Invocations, s.Unparsed)
	}
}

func TestFileSource(t *testing.T) {
	if got := FileSource("export/3b6c/2026-11-24-[$LATEST]569c0c34c7489e6a97ad08b44190aaaa/000000.gz").Stream; got != stream1 {
		t.Errorf("stream %q", got)
	}
	if got := FileSource("logs/checkout.log").Stream; got != "" {
		t.Errorf("stream %q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(whole(id1, cold))
	f.Add(at(stream1, whole(id1, timeout)))
	f.Add(`{"logEvents":[{"timestamp":1,"message":"START RequestId: a Version: 1"}]}`)
	f.Add("{\n\"events\": [{\"timestamp\": 1e300}]}\n{")
	f.Add(`{"time":"2022-10-21T14:05:02.600Z","type":"platform.fault","record":{"fault":1}}`)
	f.Fuzz(func(t *testing.T, input string) {
		l := read(t, "f.log", input)
		s := l.Summary()
		if s.ColdStarts > s.Invocations || s.Errors+s.Timeouts > s.Invocations || s.Unparsed > s.Lines {
			t.Errorf("%+v", s)
		}
		var last time.Time
		err := l.Happenings("arm64", func(h Happening) error {
			if h.Invocation != nil && h.Time.Before(last) {
				t.Errorf("%v comes after %v", h.Time, last)
			}
			last = h.Time
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
