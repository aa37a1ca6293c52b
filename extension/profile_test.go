package extension

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// hookFile is what a hook in a runtime that began at origin would have written:
// app.js, which loads a package and that a built-in.
func hookFile(origin time.Time, more string) string {
	return fmt.Sprintf("thaw-init\t1\tnodejs\t22.4.0\t7\t%d\nm\thook\tnode/9\nm\thook_us\t900\nm\thandler_begin\t2000\n"+
		"r\t1\t0\tcjs\t2000\t92000\t500\t-\t./app\t/var/task/app.js\n"+
		"r\t2\t1\tcjs\t3000\t63000\t9000\t-\tsharp\t/var/task/node_modules/sharp/index.js\n"+
		"r\t3\t2\tbuiltin\t4000\t9000\t0\t-\tnode:https\t\n"+
		"m\thandler_end\t92000\n%s", origin.UnixMicro(), more)
}

func profileDir(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), ".thaw")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// profiledLife runs a cold start and a warm invocation, with prepare between
// the registration and the end of the init, and returns what was sent.
func profiledLife(t *testing.T, dir string, prepare func(), env ...string) (*fakeBackend, *running) {
	t.Helper()
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0", "THAW_SHUTDOWN_WAIT=1s", "THAW_PROFILE_DIR="+dir)...)
	f.awaitNext()
	prepare()
	coldStart(f)
	f.invoke("a")
	f.awaitNext()
	now := time.Now()
	f.tell(startEvent(now, "a"), runtimeDoneEvent(now.Add(13*time.Millisecond), "a"), reportEvent(now.Add(14*time.Millisecond), "a"))
	f.invoke("b")
	f.awaitNext()
	f.tell(startEvent(time.Now(), "b"), runtimeDoneEvent(time.Now().Add(13*time.Millisecond), "b"), reportEvent(time.Now().Add(14*time.Millisecond), "b"))
	f.shutdown("spindown")
	r.exits()
	return b, r
}

func initOf(t *testing.T, b *fakeBackend) *lifecycle.Init {
	t.Helper()
	for _, o := range b.observations() {
		if o.Init != nil {
			return o.Init
		}
	}
	t.Fatal("no init was sent")
	return nil
}

func TestProfile(t *testing.T) {
	dir := profileDir(t)
	file := filepath.Join(dir, "init-7-1.tsv")
	b, _ := profiledLife(t, dir, func() {
		origin := time.Now()
		time.Sleep(100 * time.Millisecond)
		write(t, file, hookFile(origin, "r\t4\t0\tcjs\t400000\t405000\t10\tl\tlate\t/var/task/late.js\n"))
		// A child process that inherited the hook.
		write(t, filepath.Join(dir, "init-8-2.tsv"), hookFile(origin.Add(60*time.Millisecond), ""))
	})
	in := initOf(t, b)
	p := in.Profile
	if p == nil {
		t.Fatal("the init has no profile")
	}
	if p.Hook != "node/9" || p.HookCost != 900*time.Microsecond || p.Truncated || p.Inside != "" || p.Late != 5*time.Millisecond {
		t.Errorf("profile %+v", p)
	}
	want := []lifecycle.PackageTime{
		{Name: "sharp", Origin: "function", Self: 55 * time.Millisecond, Modules: 1},
		{Name: lifecycle.PackageOwn, Origin: "function", Self: 30 * time.Millisecond, Modules: 1},
		{Name: "node:https", Origin: "built-in", Self: 5 * time.Millisecond, Modules: 1},
	}
	if fmt.Sprint(p.Packages) != fmt.Sprint(want) {
		t.Errorf("packages %+v", p.Packages)
	}
	parts := map[lifecycle.PartName]lifecycle.Basis{}
	for _, part := range in.Parts {
		parts[part.Name] = part.Basis
	}
	if parts[lifecycle.PartRuntime] != lifecycle.Measured || parts[lifecycle.PartFunction] != lifecycle.Measured || parts[lifecycle.PartRuntimeFunction] != "" {
		t.Errorf("parts %+v", in.Parts)
	}
	tree, err := initprofile.Unpack(p.Tree)
	if err != nil || len(tree.Records) != 4 {
		t.Errorf("tree %+v, %v", tree, err)
	}
	var spans []string
	for _, batch := range b.batches {
		for _, span := range batch.ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
			if _, ok := span.Attributes().Get(lifecycle.AttrPackage); ok {
				spans = append(spans, span.Name()+" "+span.EndTimestamp().AsTime().Sub(span.StartTimestamp().AsTime()).String())
			}
		}
	}
	if got := strings.Join(spans, ", "); got != "sharp 60ms, node:https 5ms, the function's own code 30ms" {
		t.Errorf("spans: %s", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestProfileSettings(t *testing.T) {
	for _, tt := range []struct {
		env           string
		profile, tree bool
	}{
		{"THAW_PROFILE=off", false, false},
		{"THAW_PROFILE_TREE=0", true, false},
		{"THAW_PROFILE=deep", true, true},
	} {
		dir := profileDir(t)
		b, _ := profiledLife(t, dir, func() {
			write(t, filepath.Join(dir, "init-7-1.tsv"), hookFile(time.Now(), ""))
		}, tt.env)
		in := initOf(t, b)
		if (in.Profile != nil) != tt.profile || tt.profile && (len(in.Profile.Tree) > 0) != tt.tree {
			t.Errorf("%s: %+v", tt.env, in.Profile)
		}
	}
}

// The platform says that the init timed out; the file says where.
func TestProfileOfAnInitThatFailed(t *testing.T) {
	dir := profileDir(t)
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0", "THAW_PROFILE_DIR="+dir)
	f.awaitNext()
	now := time.Now().Truncate(time.Millisecond)
	initStart := now.Add(-10 * time.Second)
	write(t, filepath.Join(dir, "init-7-1.tsv"), fmt.Sprintf("thaw-init\t1\tnodejs\t22.4.0\t7\t%d\nr\t1\t0\tcjs\t2000\t0\t500\t-\t./app\t/var/task/app.js\nr\t2\t1\tcjs\t3000\t0\t500\t-\t./slow\t/var/task/slow.js\nr\t3\t2\tcjs\t4000\t50", initStart.Add(50*time.Millisecond).UnixMicro()))
	f.tell(
		telemetryEvent(initStart, lambdaapi.TypeInitStart, `{"initializationType":"on-demand","phase":"init"}`),
		telemetryEvent(now, lambdaapi.TypeInitRuntimeDone, `{"initializationType":"on-demand","phase":"init","status":"timeout"}`),
		telemetryEvent(now, lambdaapi.TypeInitReport, `{"initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":10000.0}}`),
	)
	f.shutdown("timeout")
	r.exits()
	in := initOf(t, b)
	if in.Profile == nil || in.Profile.Inside != "app.js > slow.js" {
		t.Fatalf("%s, profile %+v", in.Status, in.Profile)
	}
	if own := in.Profile.Packages[0]; own.Self < 9*time.Second {
		t.Errorf("what was open lasted %v, not until the end of the init", own.Self)
	}
}

// A hook file is a stranger's claim. Nothing here may be read, and nothing may
// hold up the function.
func TestProfileDistrusts(t *testing.T) {
	elsewhere := t.TempDir()
	for name, prepare := range map[string]func(dir, file string){
		"a link": func(_, file string) {
			target := filepath.Join(elsewhere, "secret")
			write(t, target, hookFile(time.Now(), ""))
			if err := os.Symlink(target, file); err != nil {
				t.Fatal(err)
			}
		},
		"a FIFO": func(_, file string) {
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(_, file string) {
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a linked folder": func(dir, _ string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(elsewhere, "folder")
			if err := os.Mkdir(target, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(target, "init-1-1.tsv"), hookFile(time.Now(), ""))
			if err := os.Symlink(target, dir); err != nil {
				t.Fatal(err)
			}
		},
		"not a profile":     func(_, file string) { write(t, file, "\x00\xff\n\n") },
		"another version":   func(_, file string) { write(t, file, "thaw-init\t2\tnodejs\t22\t7\t1\n") },
		"an old one":        func(_, file string) { write(t, file, hookFile(time.Now().Add(-time.Hour), "")) },
		"one of the future": func(_, file string) { write(t, file, hookFile(time.Now().Add(time.Hour), "")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := profileDir(t)
			b, r := profiledLife(t, dir, func() { prepare(dir, filepath.Join(dir, "init-7-1.tsv")) })
			if p := initOf(t, b).Profile; p != nil {
				t.Errorf("it was believed: %+v", p)
			}
			if r.log.lines() != 0 {
				t.Errorf("the function's log has\n%s", r.log)
			}
		})
	}
}

// What is too long is cut, what is not UTF-8 replaced, and everything fits.
func TestProfileBounds(t *testing.T) {
	dir := profileDir(t)
	var more strings.Builder
	for i := 10; i < 50_000; i++ {
		fmt.Fprintf(&more, "r\t%d\t1\tcjs\t%d\t%d\t1\t-\t\xff\\tname\t/var/task/node_modules/p%d%s/i%d.js\n", i, 3000+i, 3000+i+1, i%3000, strings.Repeat("x", 300), i)
	}
	b, r := profiledLife(t, dir, func() {
		write(t, filepath.Join(dir, "init-7-1.tsv"), hookFile(time.Now(), more.String()))
	}, "THAW_PROFILE_TREE=20000", "THAW_LOG_LEVEL=debug")
	p := initOf(t, b).Profile
	if p == nil {
		t.Fatalf("no profile; the log has\n%s", r.log)
	}
	if !p.Truncated || len(p.Packages) > maxPackages+1 || len(p.Tree) > 20000 {
		t.Fatalf("profile: %d packages, tree of %d bytes", len(p.Packages), len(p.Tree))
	}
	for _, batch := range b.batches {
		if n := batch.SpanCount(); n > maxPackageSpans+20 {
			t.Errorf("%d spans in a batch", n)
		}
	}
}

// A function in Go that asks for GODEBUG=inittrace=1 is profiled by its log.
func TestProfileOfGo(t *testing.T) {
	b, _ := profiledLife(t, profileDir(t), func() {})
	if p := initOf(t, b).Profile; p != nil {
		t.Errorf("without lines and binary: %+v", p)
	}
	f, b := newFakeLambda(t), newFakeBackend(t)
	r := start(t, f, "OTEL_EXPORTER_OTLP_ENDPOINT="+b.URL, "THAW_BATCH_DELAY=0", "THAW_SHUTDOWN_WAIT=1s", "THAW_PROFILE_DIR="+profileDir(t))
	f.awaitNext()
	line := func(text string, at time.Duration) string { // the init began 200 ms ago
		return telemetryEvent(time.Now().Add(at-180*time.Millisecond), lambdaapi.TypeFunction, fmt.Sprintf("%q", text))
	}
	f.tell(
		line("init main is not what Go writes\n", 0),
		line("init github.com/aws/aws-sdk-go-v2/aws @1 ms, 30 ms clock, 1000 bytes, 10 allocs\n", 31*time.Millisecond),
		line("init main @40 ms, 60 ms clock, 5000 bytes, 7 allocs\n", 100*time.Millisecond),
	)
	coldStart(f)
	f.invoke("a")
	f.awaitNext()
	now := time.Now()
	f.tell(startEvent(now, "a"), runtimeDoneEvent(now.Add(13*time.Millisecond), "a"), reportEvent(now.Add(14*time.Millisecond), "a"))
	f.shutdown("spindown")
	r.exits()
	p := initOf(t, b).Profile
	if p == nil {
		t.Fatal("the init has no profile")
	}
	want := []lifecycle.PackageTime{
		{Name: lifecycle.PackageOwn, Origin: "function", Self: 60 * time.Millisecond, Modules: 1},
		{Name: "github.com/aws/aws-sdk-go-v2", Origin: "function", Self: 30 * time.Millisecond, Modules: 1},
	}
	if p.Hook != "go/inittrace" || fmt.Sprint(p.Packages) != fmt.Sprint(want) {
		t.Errorf("hook %q, packages %+v", p.Hook, p.Packages)
	}
}

// What a JVM counts by itself is read where no hook wrote.
func TestProfileOfAJVM(t *testing.T) {
	tmp := t.TempDir()
	folder := filepath.Join(tmp, "hsperfdata_sbx_user1051")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Truncate(time.Millisecond)
	write(t, filepath.Join(folder, "8"), jvmCounters(map[string]int64{
		"sun.rt.createVmBeginTime": began.UnixMilli(), "sun.rt.createVmEndTime": began.UnixMilli() + 40, "sun.os.hrt.frequency": 1e9,
		"sun.cls.classInitTime.self": 90e6, "sun.cls.sysClassLoadTime": 30e6,
	}))
	write(t, filepath.Join(folder, "9"), "not of a JVM")
	if err := os.Symlink("/etc/passwd", filepath.Join(folder, "10")); err != nil {
		t.Fatal(err)
	}
	p := &profiler{tmp: tmp, jvms: map[string][]byte{}, rec: newRecorder(zerolog.Nop())}
	p.copyJVMs()
	in := &initState{runtimeDone: began.Add(200 * time.Millisecond), reported: began.Add(200 * time.Millisecond)}
	in.Start, in.Duration = began, 200*time.Millisecond
	profile := p.unhooked(in)
	if profile == nil {
		t.Fatal("there is no profile")
	}
	got := p.describe(profile, in)
	want := []lifecycle.PackageTime{
		{Name: "static initializers", Origin: "runtime", Self: 90 * time.Millisecond, Modules: 1},
		{Name: "class loading", Origin: "runtime", Self: 30 * time.Millisecond, Modules: 1},
	}
	if got.Hook != "java/hsperfdata" || fmt.Sprint(got.Packages) != fmt.Sprint(want) {
		t.Errorf("hook %q, packages %+v", got.Hook, got.Packages)
	}
	// The classes that it logged say more.
	thaw := profileDir(t)
	var log strings.Builder
	for i, class := range []string{"java.lang.Object source: shared objects file", "app.Main source: file:/var/task/", "lib.A source: file:/var/task/lib/lib-1.2.jar"} {
		at := time.Duration(10+40*i) * time.Millisecond
		fmt.Fprintf(&log, "[%dms][%dns] %s\n", began.Add(at).UnixMilli(), at.Nanoseconds(), class)
	}
	write(t, filepath.Join(thaw, "classes-8.log"), log.String())
	p.dirs, p.classLogs, p.copies = []string{thaw}, map[string][]byte{}, map[string][]byte{}
	p.copy()
	got = p.describe(p.unhooked(in), in)
	want = []lifecycle.PackageTime{
		{Name: lifecycle.PackageOwn, Origin: "function", Self: 40 * time.Millisecond, Modules: 1},
		{Name: "lib", Version: "1.2", Origin: "function", Self: 40 * time.Millisecond, Modules: 1},
	}
	if got.Hook != "java/class+load" || fmt.Sprint(got.Packages[:2]) != fmt.Sprint(want) {
		t.Errorf("hook %q, packages %+v", got.Hook, got.Packages)
	}
	// Not that of an init that came later.
	in.Start, in.runtimeDone, in.reported = began.Add(time.Minute), began.Add(time.Minute), began.Add(time.Minute)
	if late := p.unhooked(in); late != nil {
		t.Errorf("%+v", late)
	}
}

// jvmCounters is a file as a JVM keeps it.
func jvmCounters(numbers map[string]int64) string {
	data := binary.BigEndian.AppendUint32(nil, 0xcafec0c0)
	data = append(data, 1, 2, 0, 1)
	data = append(data, make([]byte, 16)...)
	data = binary.LittleEndian.AppendUint32(data, 32)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(numbers)))
	for name, n := range numbers {
		const value = 64
		for _, field := range []uint32{value + 8, 20, 0} {
			data = binary.LittleEndian.AppendUint32(data, field)
		}
		data = append(data, 'J', 0, 3, 1)
		data = binary.LittleEndian.AppendUint32(data, value)
		data = append(append(data, name...), make([]byte, value-20-len(name))...)
		data = binary.LittleEndian.AppendUint64(data, uint64(n))
	}
	return string(data)
}
