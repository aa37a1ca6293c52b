package report

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// tuningLink is what Power Tuning's state machine makes of its results.
func tuningLink(sizes []int16, durations, costs []float32, names ...string) string {
	encode := func(v any) string {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	one := strings.Join([]string{encode(sizes), encode(durations), encode(costs)}, ";")
	if len(names) > 0 {
		one += ";" + one + ";" + strings.Join(names, ";")
	}
	return "https://lambda-power-tuning.show/#" + one
}

func TestReadImported(t *testing.T) {
	link := tuningLink([]int16{512, 128, 256}, []float32{510, 2000, 1000}, []float32{4.3e-6, 4.2e-6, 4.1e-6})
	f := func(what, input string, names, text string) {
		t.Helper()
		if !IsImported([]byte(input)) {
			t.Errorf("%s is not recognised", what)
		}
		list, err := ReadImported(strings.NewReader(input), "checkout")
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		var got []string
		for _, im := range list {
			got = append(got, importedName(im))
			if importedText(im) != text {
				t.Errorf("%s: %s, want %s", what, importedText(im), text)
			}
		}
		if g := strings.Join(got, "; "); g != names {
			t.Errorf("%s: %s, want %s", what, g, names)
		}
		for _, format := range Formats() {
			var b bytes.Buffer
			if err := Render(&b, ImportedReport(list, "test", time.Now()), format, TextOptions{}); err != nil || !strings.Contains(b.String(), list[0].Name) {
				t.Errorf("%s as %s: %v", what, format, err)
			}
		}
	}
	const tied = "cheapest 256 MB, fastest 512 MB; 128 and 512 MB within 5 % of the cheapest"
	f("a link", link+"\n", "checkout", tied)
	f("a link with two curves", tuningLink([]int16{512, 128, 256}, []float32{510, 2000, 1000}, []float32{4.3e-6, 4.2e-6, 4.1e-6}, "before", "after"), "before; after", tied)
	f("the state machine's output", `{"power":"256","cost":4.1e-6,"duration":1000,"stateMachine":{"executionCost":0.0001,"lambdaCost":0.001,"visualization":"`+link+`"}}`, "checkout", tied)
	f("with every size", `{"power":256,"stateMachine":{"visualization":"x"},"stats":[{"averagePrice":4.2e-6,"averageDuration":2000,"totalCost":1,"value":128},{"averagePrice":4.1e-6,"averageDuration":1000,"value":"256"},{"averagePrice":4.3e-6,"averageDuration":510,"value":512}]}`, "checkout", tied)
	f("curves", `{"about":"x","curves":[{"name":"resize","memory_mb":[128,256],"duration_ms":[2000,1500]}]}`, "resize", "cheapest 128 MB, fastest 256 MB")
	f("lambda-perf", `{"metadata":{},"runtimeData":[{"p":"zip","d":"node","i":[140,120,130],"m":128,"a":"arm64","mu":60,"ad":9.5,"acd":150},{"p":"zip","d":"node","i":[],"m":256,"a":"arm64","mu":60,"ad":4.5}]}`,
		"node, arm64, zip", "inits and first invocations of a function that does nothing")

	list, err := ReadImported(strings.NewReader(`{"runtimeData":[{"p":"zip","d":"node","i":[140,120,130,150],"m":128,"a":"arm64","mu":60,"ad":9.5}]}`), "")
	if err != nil || *list[0].Points[0].InitMS != 135 || list[0].Points[0].Inits != 4 {
		t.Errorf("the median of the inits: %+v, %v", list, err)
	}
}

func TestReadImportedRefuses(t *testing.T) {
	for _, input := range []string{
		`{"stateMachine":{}}`,
		`{"curves":[{"name":"a","memory_mb":[128,256],"duration_ms":[1]}]}`,
		`{"curves":[{"name":"a","memory_mb":[128,128],"duration_ms":[1,2]}]}`,
		`{"curves":[{"name":"a","memory_mb":[0],"duration_ms":[1]}]}`,
		`{"stats":[{"averageDuration":-1,"value":128}]}`,
		"https://lambda-power-tuning.show/#gAA=;AAA;!",
		`{`,
	} {
		if list, err := ReadImported(strings.NewReader(input), "f"); err == nil {
			t.Errorf("%s was read as %+v", input, list)
		}
	}
	for _, input := range []string{"", "START RequestId: x", `{"events":[]}`, "https://example.com/#a", `{"time":"x","type":"platform.start","record":{}}`} {
		if IsImported([]byte(input)) {
			t.Errorf("%q is taken for imported measurements", input)
		}
	}
}

func FuzzReadImported(f *testing.F) {
	f.Add(tuningLink([]int16{128}, []float32{1}, []float32{1}))
	f.Add(`{"stats":[{"averagePrice":1,"averageDuration":1,"value":128}],"curves":[{"memory_mb":[1],"duration_ms":[1]}]}`)
	f.Fuzz(func(t *testing.T, input string) {
		list, err := ReadImported(strings.NewReader(input), "f")
		if err != nil {
			return
		}
		if err := Render(&bytes.Buffer{}, ImportedReport(list, "", time.Now()), Markdown, TextOptions{}); err != nil {
			t.Error(err)
		}
	})
}
