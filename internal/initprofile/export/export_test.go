package export

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

func example(t *testing.T) *Profile {
	t.Helper()
	p, err := initprofile.Parse([]byte("thaw-init\t1\tnodejs\t22.4.0\t7\t1790000000000000\n" +
		"k\t@aws-sdk/client-s3\t3.600.0\t/var/task/node_modules/@aws-sdk/client-s3\n" +
		"r\t1\t0\tcjs\t1000\t90000\t500\t-\t./app\t/var/task/app.js\n" +
		"r\t2\t1\tcjs\t2000\t62000\t9000\t-\ts3\t/var/task/node_modules/@aws-sdk/client-s3/index.js\n" +
		"r\t3\t2\tcjs\t10000\t30000\t100\t-\todd\t/var/task/node_modules/o\\td;d/\\n.js\n" +
		"p\tcjs\t7\t4000\t10\tlodash\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &Profile{Title: "thumbnail", Start: p.Origin, Tree: p.Tree(), Parts: []Part{{"runtime", 40 * time.Millisecond}, {"nothing", 0}}}
}

const total = 133 * time.Millisecond

func TestPprof(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).Pprof(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "init.pb.gz")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := profile.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, s := range back.Sample {
		sum += s.Value[2]
	}
	if sum != int64(total) {
		t.Errorf("it sums to %v, want %v", time.Duration(sum), total)
	}
	// The tool that it is made for reads it.
	out, err := exec.Command("go", "tool", "pprof", "-top", "-cum", "-unit=ms", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"40ms 30.08%", "89ms 66.92%  app.js", "60ms 45.11%  @aws-sdk/client-s3/index.js", "Type: wall"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("go tool pprof does not say %q:\n%s", want, out)
		}
	}
}

func TestFolded(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).Folded(&b); err != nil {
		t.Fatal(err)
	}
	want := `(runtime) 40000
app.js 29000
app.js;@aws-sdk/client-s3/index.js 40000
app.js;@aws-sdk/client-s3/index.js;o d:d/ .js 20000
lodash (7 modules, order not kept) 4000
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestSpeedscope(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).Speedscope(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Schema string `json:"$schema"`
		Shared struct {
			Frames []struct{ Name, File string }
		}
		Profiles []struct {
			Type     string
			EndValue int64
			Samples  [][]int
			Weights  []int64
		}
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	p := back.Profiles[0]
	var sum int64
	for i, s := range p.Samples {
		sum += p.Weights[i]
		for _, f := range s {
			if f < 0 || f >= len(back.Shared.Frames) {
				t.Errorf("sample %d names frame %d of %d", i, f, len(back.Shared.Frames))
			}
		}
	}
	if p.Type != "sampled" || sum != p.EndValue || sum != total.Microseconds() || len(p.Samples) != len(p.Weights) {
		t.Errorf("%+v", p)
	}
}
