package goinit

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

func TestParseLine(t *testing.T) {
	f := func(text string, want Line, ok bool) {
		t.Helper()
		if got, is := ParseLine(text); is != ok || ok && got != want {
			t.Errorf("%q: %+v, %v", text, got, is)
		}
	}
	f("init main @2.3 ms, 39 ms clock, 7569616 bytes, 152112 allocs\n", Line{"main", 2300 * time.Microsecond, 39 * time.Millisecond, 7569616, 152112}, true)
	f("init github.com/a/b.v2 @0.008 ms, 0.002 ms clock, 0 bytes, 0 allocs", Line{"github.com/a/b.v2", 8 * time.Microsecond, 2 * time.Microsecond, 0, 0}, true)
	for _, text := range []string{
		"", "init", "init \n", "initialised @1 ms", "init main @-1 ms, 1 ms clock, 0 bytes, 0 allocs", "init main @NaN ms, 1 ms clock, 0 bytes, 0 allocs",
		"init main @1e300 ms, 1 ms clock, 0 bytes, 0 allocs", "init main @1 s, 1 ms clock, 0 bytes, 0 allocs", "init a b @1 ms, 1 ms clock, 0 bytes, 0 allocs",
		"init main @1 ms, 1 ms clock, x bytes, 0 allocs", "init main @1 ms, 1 ms clock, 0 bytes, 0 allocs, 3 more", "init @1 ms, 1 ms clock, 0 bytes, 0 allocs",
	} {
		f(text, Line{}, false)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("init main @2.3 ms, 39 ms clock, 7569616 bytes, 152112 allocs")
	f.Add("init x @0x1p3 ms, 1_0 ms clock, 1 bytes, 1 allocs")
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := ParseLine(text)
		if ok && (l.Package == "" || l.At < 0 || l.Clock < 0 || l.At > maxField || l.Clock > maxField || l.Bytes < 0 || l.Allocs < 0) {
			t.Errorf("%q: %+v", text, l)
		}
	})
}

func FuzzReadBuild(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	f.Add([]byte("\xff Go buildinf:\x08\x02" + strings.Repeat("\x00", 15) + "\x08go1.25.0\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = readBuild(bytes.NewReader(data), int64(len(data)))
	})
}

// A real program with something to initialise, and real modules: this test's own.
func TestRealProgram(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../../examples/catalog-index")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	began := time.Now()
	out, _ := cmd.CombinedOutput() // outside Lambda it ends with an error
	var trace Trace
	for line := range strings.Lines(string(out)) {
		trace.Add(line, time.Now())
	}
	lines, origin := trace.Take()
	if len(lines) < 5 {
		t.Fatalf("%d lines in\n%s", len(lines), out)
	}
	if origin.After(time.Now()) || origin.Before(began.Add(-time.Second)) {
		t.Errorf("Go's runtime began at %v, the process at %v", origin, began)
	}
	if again, _ := trace.Take(); len(again) > 0 {
		t.Errorf("%d lines are still there", len(again))
	}
	info, err := ReadBuild(binary)
	if err != nil {
		t.Fatal(err)
	}
	want, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.GoVersion != want.GoVersion || info.String() != want.String() {
		t.Errorf("got\n%s\nthe standard library reads\n%s", info, want)
	}
	p := Profile(lines, origin, info)
	if len(p.Records) != len(lines) || p.RuntimeVersion == "" || p.Number("binary_bytes") < 1<<20 {
		t.Errorf("profile %+v", p)
	}
	found := false
	for _, k := range p.Packages {
		found = found || k.Name == "github.com/aws/aws-lambda-go" && strings.HasPrefix(k.Version, "v1.")
	}
	if !found {
		t.Errorf("modules %v", p.Packages)
	}
	// It travels as any other profile.
	packed, whole := p.Pack(48 << 10)
	back, err := initprofile.Unpack(packed)
	if err != nil || !whole || len(back.Records) != len(p.Records) || len(back.Packages) != len(p.Packages) {
		t.Errorf("after the travel: %v, %+v", err, back)
	}
	var total time.Duration
	for _, u := range p.Tree().Usages() {
		total += u.Self
	}
	var clock time.Duration
	for _, l := range lines {
		clock += l.Clock
	}
	if diff := total - clock; diff < -clock/10 || diff > clock/10 {
		t.Errorf("packages take %v, the lines say %v", total, clock)
	}
}

func TestReadBuildRefuses(t *testing.T) {
	for _, path := range []string{"/bin/sh", "/dev/null", t.TempDir(), "/not/there"} {
		if b, err := ReadBuild(path); err == nil {
			t.Errorf("%s: %+v", path, b)
		}
	}
}
