package classlog

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseLine(t *testing.T) {
	at := time.UnixMilli(1795509739143).UTC()
	f := func(line string, want Class, ok bool) {
		t.Helper()
		if got, is := ParseLine(line); is != ok || got != want {
			t.Errorf("%q: %+v, %v", line, got, is)
		}
	}
	f("[1795509739143ms][83432845ns] java.lang.Object source: shared objects file\n", Class{83432845, at, "java.lang.Object", ""}, true)
	f("[1795509739143ms][5ns] a.B source: file:/var/task/lib/a-1.2.jar", Class{5, at, "a.B", "/var/task/lib/a-1.2.jar"}, true)
	f("[1795509739143ms][5ns] a.B source: jar:file:/opt/java/lib/a.jar!/BOOT-INF/", Class{5, at, "a.B", "/opt/java/lib/a.jar"}, true)
	for _, line := range []string{"", "[5ms] a.B source: x", "[1ms][-5ns] a.B source: x", "[1ms][5ns] a b source: x", "[1ms][5ns] a.B", "[1ms][99999999999999999999ns] a.B source: x", "[1ms][5ns]  source: x"} {
		f(line, Class{}, false)
	}
}

func FuzzProfile(f *testing.F) {
	f.Add([]byte("[1795509739143ms][5ns] a.B source: file:/var/task/lib/a-1.2.jar\n[1795509739143ms][9ns] a.C source: jrt:/java.base\n[0ms][3ns] x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := Profile(data)
		if p == nil {
			return
		}
		if len(p.Records) > maxRecords {
			t.Errorf("%d records", len(p.Records))
		}
		for _, r := range p.Records {
			if r.Start < 0 || r.End < r.Start || r.End > maxUptime {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A real JVM, started by the layer's own script.
func TestRealJVM(t *testing.T) {
	for _, tool := range []string{"java", "javac", "jar"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("in CI this must run: %v", err)
			}
			t.Skipf("SKIPPED: %v", err)
		}
	}
	dir := t.TempDir()
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("Slow.java", "package lib; public class Slow { static { try { Thread.sleep(150); } catch (InterruptedException e) { } } public static int n = Inner.n; static class Inner { static int n = 1; } }")
	write("Main.java", "public class Main { public static void main(String[] a) { System.out.println(lib.Slow.n + new java.util.zip.CRC32().getValue()); } }")
	run(nil, "javac", "-d", "classes", "Slow.java")
	run(nil, "jar", "cf", "slow-1.2.3.jar", "-C", "classes", ".")
	run(nil, "javac", "-cp", "slow-1.2.3.jar", "-d", ".", "Main.java")
	script, err := filepath.Abs("../../layer/wrapper")
	if err != nil {
		t.Fatal(err)
	}
	start := func(env ...string) string {
		t.Helper()
		return run(append(env, "AWS_EXECUTION_ENV=AWS_Lambda_java17"), script, "java", "-cp", ".:slow-1.2.3.jar", "Main")
	}
	profiles := filepath.Join(dir, "profiles")
	logs := func() []string {
		found, err := filepath.Glob(filepath.Join(profiles, "classes-*.log"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	// Nothing is logged unless it is asked for, and where it cannot be the function runs.
	for _, env := range [][]string{{}, {"THAW_PROFILE=deep", "THAW_PROFILE_DIR=/proc/thaw"}, {"THAW_PROFILE=deep", "THAW_PROFILE_DIR=/tmp/a:b c"}} {
		if out := start(env...); out != "1\n" || len(logs()) > 0 {
			t.Errorf("%v: %q, %v", env, out, logs())
		}
	}
	began := time.Now()
	if out := start("THAW_PROFILE=deep", "THAW_PROFILE_DIR="+profiles); out != "1\n" || len(logs()) != 1 {
		t.Fatalf("%q, %v", out, logs())
	}
	data, err := os.ReadFile(logs()[0])
	if err != nil {
		t.Fatal(err)
	}
	p := Profile(data)
	if p == nil || p.Origin.Before(began.Add(-time.Second)) || p.Origin.After(time.Now()) {
		t.Fatalf("%+v", p)
	}
	found := false
	for _, u := range p.Tree().Usages() {
		if u.Name == "slow" && u.Version == "1.2.3" {
			found = true
			if u.Self < 150*time.Millisecond {
				t.Errorf("slow-1.2.3.jar took %v", u.Self)
			}
		}
	}
	if !found {
		t.Error("the jar is not on record")
	}
	t.Logf("%d lines, %d records", strings.Count(string(data), "\n"), len(p.Records))
}
