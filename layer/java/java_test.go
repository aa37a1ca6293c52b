// Package java_test runs a function in Java under AWS's own client, from the
// layer as it is packed, and reads what its JVM left behind.
package java_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/classlog"
	"github.com/thaw-lambda/thaw/internal/hsperf"
	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/layer"
	"github.com/thaw-lambda/thaw/layer/hooktest"
)

const handler = `
package app;
import com.amazonaws.services.lambda.runtime.Context;
public class Handler {
  static { try { Thread.sleep(120); } catch (InterruptedException e) { } }
  public String handle(Object event, Context context) { return "cold " + context.getFunctionName(); }
}`

// client are the jars of AWS's client.
func client(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("testdata/install-ric.sh", "--check").CombinedOutput()
	if err == nil {
		_, err = exec.LookPath("javac")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("in CI this must run: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// unpacked is the layer as Lambda has it.
func unpacked(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layer.zip")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Pack(out, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	opt := t.TempDir()
	if err := layer.Unpack(file, opt); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(opt, layer.HooksPath)
}

func TestRealClient(t *testing.T) {
	jars := client(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "Handler.java")
	if err := os.WriteFile(source, []byte(handler), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "-cp", jars+"/*", "-d", dir, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := func(env ...string) *hooktest.Function {
		return hooktest.Start(t, hooktest.Command{
			Args: []string{
				filepath.Join(unpacked(t), "wrapper"), "java", "-XX:TieredStopAtLevel=1",
				"-cp", dir + ":" + jars + "/*", "com.amazonaws.services.lambda.runtime.api.client.AWSLambda", "app.Handler::handle",
			},
			Dir: dir, Handler: "app.Handler::handle", Env: append(env, "AWS_EXECUTION_ENV=AWS_Lambda_java17"),
		})
	}
	invoke := func(f *hooktest.Function) {
		t.Helper()
		if got := f.Invoke(`{}`); got.Kind != "response" || got.Body != `"cold test"` {
			t.Errorf("answer %v", got)
		}
	}
	usage := func(p *initprofile.Profile, name string) (self time.Duration) {
		for _, u := range p.Tree().Usages() {
			if u.Name == name {
				self += u.Self
			}
		}
		return self
	}

	// By its counters, with nothing asked for.
	f := start()
	f.WaitNext(1)
	files, err := filepath.Glob("/tmp/hsperfdata_*/" + f.PID())
	if err != nil || len(files) != 1 {
		t.Fatalf("counters: %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	counters, err := hsperf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	p := counters.Profile()
	if got := usage(p, "static initializers"); got < 120*time.Millisecond {
		t.Errorf("static initializers took %v", got)
	}
	invoke(f)
	f.Kill()

	// By the classes, on request.
	profiles := filepath.Join(t.TempDir(), "profiles")
	f = start("THAW_PROFILE=deep", "THAW_PROFILE_DIR="+profiles)
	f.WaitNext(1)
	data, err = os.ReadFile(filepath.Join(profiles, "classes-"+f.PID()+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p = classlog.Profile(data)
	if p == nil {
		t.Fatalf("no classes in %s", data)
	}
	for _, name := range []string{"aws-lambda-java-runtime-interface-client", "java.lang"} {
		if usage(p, name) == 0 {
			t.Errorf("%s is not on record", name)
		}
	}
	own := 0
	for _, r := range p.Records {
		if r.Name == "app.Handler" && strings.HasPrefix(r.Path, dir) {
			own++
		}
	}
	if own != 1 {
		t.Errorf("the handler is on record %d times", own)
	}
	invoke(f)
}
