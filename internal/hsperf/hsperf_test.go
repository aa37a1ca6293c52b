package hsperf

import (
	"bufio"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

const program = `
public class Main {
  static class Slow {
    static { try { Thread.sleep(200); } catch (InterruptedException e) { } }
    static int n = 1;
  }
  public static void main(String[] args) throws Exception {
    java.net.http.HttpClient.newHttpClient();
    System.out.println(Slow.n);
    System.in.read();
  }
}`

// A real JVM, and what its own tool says of the same counters.
func TestRealJVM(t *testing.T) {
	for _, tool := range []string{"java", "javac", "jcmd"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("in CI this must run: %v", err)
			}
			t.Skipf("SKIPPED: %v", err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Main.java"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	compile := exec.Command("javac", "Main.java")
	compile.Dir = dir
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("java", "-cp", dir, "Main")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	}()
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the program says nothing")
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	files, err := filepath.Glob("/tmp/hsperfdata_*/" + pid)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := exec.Command("jcmd", pid, "PerfCounter.print").Output()
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for line := range strings.Lines(string(printed)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !strings.HasPrefix(name, "sun.rt.createVm") && !strings.HasPrefix(name, "java.property.") && name != "sun.os.hrt.frequency" {
			continue // the others have changed by now
		}
		if got, is := c.Numbers[name]; is && strconv.FormatInt(got, 10) != value {
			t.Errorf("%s is %d, jcmd says %s", name, got, value)
		}
		if got, is := c.Texts[name]; is && strconv.Quote(got) != value && name != "java.property.java.class.path" {
			t.Errorf("%s is %q, jcmd says %s", name, got, value)
		}
		same++
	}
	if same < 8 || len(c.Numbers) < 100 {
		t.Errorf("%d counters, %d to compare", len(c.Numbers), same)
	}
	p := c.Profile()
	if p == nil || p.Origin.Before(began.Add(-time.Second)) || p.Origin.After(time.Now()) || p.RuntimeVersion == "" {
		t.Fatalf("profile %+v", p)
	}
	took := map[string]time.Duration{}
	for _, r := range p.Records {
		took[r.Name] = r.End - r.Start
	}
	if took["static initializers"] < 200*time.Millisecond || took["class loading"] < time.Millisecond {
		t.Errorf("parts %v", took)
	}
	packed, whole := p.Pack(4 << 10)
	if back, err := initprofile.Unpack(packed); err != nil || !whole || len(back.Records) != len(p.Records) {
		t.Errorf("after the travel: %v", err)
	}
	t.Logf("%v of %v", took, time.Since(began))
}

func TestParseRefuses(t *testing.T) {
	head := func(order, major, accessible byte) []byte {
		data := make([]byte, prologue)
		binary.BigEndian.PutUint32(data, magic)
		data[4], data[5], data[7] = order, major, accessible
		return data
	}
	for _, data := range [][]byte{nil, make([]byte, prologue), head(1, 3, 1), head(1, 2, 0), make([]byte, MaxBytes+1)} {
		if _, err := Parse(data); err == nil {
			t.Errorf("it read %d bytes", len(data))
		}
	}
	if c, err := Parse(head(0, 2, 1)); err != nil || c.Profile() != nil {
		t.Errorf("an empty file: %v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	data := make([]byte, 2*prologue+32)
	binary.BigEndian.PutUint32(data, magic)
	data[4], data[5], data[7], data[24], data[28] = 1, 2, 1, prologue, 1
	copy(data[prologue:], []byte{56, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 'J', 0, 3, 1, 48, 0, 0, 0})
	copy(data[prologue+20:], "sun.rt.createVmBeginTime\x00")
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if p := c.Profile(); p != nil {
			for _, r := range p.Records {
				if r.Start < 0 || r.End < r.Start {
					t.Errorf("%+v", r)
				}
			}
		}
	})
}
