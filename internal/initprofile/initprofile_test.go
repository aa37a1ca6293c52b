package initprofile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// node is a CommonJS function with a package that loads another, a built-in, a
// late module and one that is still open.
const node = "thaw-init\t1\tnodejs\t22.4.0\t7\t1790000000000000\n" +
	"m\tbootstrap\t-40000\n" +
	"m\thandler_begin\t1000\n" +
	"r\t1\t0\tcjs\t1000\t0\t500\t-\t./app\t/var/task/src/app.js\n" +
	"r\t2\t1\tcjs\t2000\t62000\t9000\t-\t@aws-sdk/client-s3\t/var/task/node_modules/@aws-sdk/client-s3/dist-cjs/index.js\n" +
	"r\t3\t2\tcjs\t10000\t30000\t100\t-\t@smithy/core\t/var/task/node_modules/@smithy/core/index.js\n" +
	"r\t4\t3\tbuiltin\t12000\t22000\t0\t-\tnode:https\t\n" +
	"r\t5\t2\tcjs\t40000\t45000\t100\t-\t./b\t/var/task/node_modules/@aws-sdk/client-s3/dist-cjs/b.js\n" +
	"r\t1\t0\tcjs\t1000\t90000\t500\t-\t./app\t/var/task/src/app.js\n" +
	"r\t6\t1\tcjs\t70000\t72000\t10\te\ta\\tb\\nc\t/opt/nodejs/node_modules/odd/i.js\n" +
	"r\t7\t0\tcjs\t500000\t501000\t10\tl\tlate\t/var/task/node_modules/late/i.js\n" +
	"w\t1\t15000\n" +
	"c\t3\t100\t/var/task/node_modules/@smithy/core/index.js\n" +
	"m\thandler_end\t90000\nm\thook_us\t800\n" +
	"x\tnobody knows this line\n" +
	"r\tnonsense\n" +
	"r\t99\t1\tcjs\t1\t2\t3\t-\ttorn"

func parse(t *testing.T, s string) *Profile {
	t.Helper()
	p, err := Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const ms = time.Millisecond

func TestTree(t *testing.T) {
	p := parse(t, node)
	if p.Skipped != 1 || len(p.Records) != 7 || p.HookCost() != 800*time.Microsecond {
		t.Errorf("skipped %d, records %d, hook %v", p.Skipped, len(p.Records), p.HookCost())
	}
	tree := p.Tree()
	var got []string
	tree.Walk(func(n *Node) {
		got = append(got, fmt.Sprintf("%s %s %s self %v total %v", tree.Label(n), n.Code.Label(), n.Code.Origin, n.Self, n.Total))
	})
	want := []string{
		"src/app.js the function's own code function self 27ms total 89ms",
		"@aws-sdk/client-s3/dist-cjs/index.js @aws-sdk/client-s3 function self 35ms total 60ms",
		"@smithy/core/index.js @smithy/core function self 10ms total 20ms",
		"node:https node:https built-in self 10ms total 10ms",
		"@aws-sdk/client-s3/dist-cjs/b.js @aws-sdk/client-s3 function self 5ms total 5ms",
		"odd/i.js odd layer self 2ms total 2ms",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(tree.Late) != 1 || tree.Sum() != 89*ms {
		t.Errorf("late %d, sum %v", len(tree.Late), tree.Sum())
	}
	if n := tree.Roots[0]; n.CPU != 15*ms || tree.Roots[0].Children[1].Name != "a\tb\nc" {
		t.Errorf("%+v", n.Record)
	}
}

func TestUsages(t *testing.T) {
	tree := parse(t, node).Tree()
	var got []string
	for _, u := range tree.Usages() {
		importer := ""
		if u.Importer != nil {
			importer = tree.Label(u.Importer)
		}
		got = append(got, fmt.Sprintf("%s self %v total %v modules %d by %s late %v", u.Label(), u.Self, u.Total, u.Modules, importer, u.Late))
	}
	want := []string{
		"@aws-sdk/client-s3 self 40ms total 60ms modules 2 by src/app.js late 0s",
		"the function's own code self 27ms total 89ms modules 1 by  late 0s",
		"@smithy/core self 10ms total 20ms modules 1 by @aws-sdk/client-s3/dist-cjs/index.js late 0s",
		"node:https self 10ms total 10ms modules 1 by @smithy/core/index.js late 0s",
		"odd self 2ms total 2ms modules 1 by src/app.js late 0s",
		"late self 0s total 0s modules 0 by  late 1ms",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestShow(t *testing.T) {
	tree := parse(t, node).Tree()
	shown, modules, left := tree.Show(9*ms, 64)
	var got []string
	sum := left
	for _, s := range shown {
		got = append(got, fmt.Sprintf("%d %s %v", s.Parent, s.Label(), s.Total))
		if s.Parent < 0 {
			sum += s.Total
		}
	}
	want := "-1 @aws-sdk/client-s3 60ms\n0 @smithy/core 20ms\n1 node:https 10ms\n-1 the function's own code 27ms"
	if strings.Join(got, "\n") != want || modules != 1 || left != 2*ms || sum != tree.Sum() {
		t.Errorf("got\n%s\nleft %d %v, sum %v", strings.Join(got, "\n"), modules, left, sum)
	}
	if shown, _, _ := tree.Show(0, 2); len(shown) != 2 {
		t.Errorf("%d shown, want 2", len(shown))
	}
}

// The file of an init that was killed says where it was.
func TestInside(t *testing.T) {
	at := strings.Index(node, "r\t5")
	killed := strings.Replace(node[:at], "\t30000\t100\t-\t@smithy", "\t0\t100\t-\t@smithy", 1)
	killed = strings.Replace(killed, "\t62000\t", "\t0\t", 1)
	tree := parse(t, killed).Tree()
	if got, want := tree.InsideText(), "src/app.js > @aws-sdk/client-s3/dist-cjs/index.js > @smithy/core/index.js"; got != want {
		t.Errorf("inside %q, want %q", got, want)
	}
	if tree := parse(t, killed).TreeUntil(time.Second); tree.Roots[0].Total != 999*ms {
		t.Errorf("total %v, want until the end of the init", tree.Roots[0].Total)
	}
	threw := strings.Replace(node, "\t-\t@smithy", "\te\t@smithy", 1)
	threw = strings.Replace(threw, "\te\ta", "\t-\ta", 1)
	if got := parse(t, threw).Tree().InsideText(); !strings.HasSuffix(got, "> @smithy/core/index.js") {
		t.Errorf("threw in %q", got)
	}
}

// An ES module is evaluated after what it imports, outside their intervals.
func TestEvaluationOrder(t *testing.T) {
	tree := parse(t, "thaw-init\t1\tnodejs\t22\t1\t1\n"+
		"r\t1\t0\tesm\t30000\t40000\t1\t-\tapp\t/var/task/app.mjs\n"+
		"r\t2\t1\tesm\t10000\t25000\t1\t-\tdep\t/var/task/node_modules/dep/i.mjs\n").Tree()
	if r := tree.Roots[0]; r.Self != 10*ms || r.Total != 25*ms {
		t.Errorf("self %v total %v", r.Self, r.Total)
	}
}

func TestPlaces(t *testing.T) {
	tests := []struct {
		runtime string
		rec     Record
		want    string
	}{
		{"nodejs", Record{Kind: CJS, Path: "/var/task/node_modules/a/node_modules/@b/c/x/y.js"}, "@b/c||function"},
		{"nodejs", Record{Kind: CJS, Path: "/opt/nodejs/node_modules/left-pad.js"}, "left-pad.js||layer"},
		{"nodejs", Record{Kind: CJS, Path: "/var/task/node_modules/.pnpm/q@1.0.0/node_modules/q/i.js"}, "q||function"},
		{"nodejs", Record{Kind: ESM, Path: "file:///var/runtime/index.mjs"}, "the Lambda runtime||runtime"},
		{"nodejs", Record{Kind: ESM, Path: "/var/task/lib/x.mjs"}, "||function"},
		{"python", Record{Kind: Python, Name: "boto3.session", Path: "/opt/python/lib/python3.12/site-packages/boto3/session.py"}, "boto3||layer"},
		{"python", Record{Kind: Python, Name: "yaml", Path: "/opt/python/yaml/__init__.py"}, "yaml||layer"},
		{"python", Record{Kind: Python, Name: "json.decoder", Path: "/var/lang/lib/python3.12/json/decoder.py"}, "json||runtime"},
		{"python", Record{Kind: Python, Name: "_ssl", Path: "/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"}, "_ssl||runtime"},
		{"python", Record{Kind: Python, Name: "sys"}, "sys||built-in"},
		{"ruby", Record{Kind: Ruby, Path: "/var/task/vendor/bundle/ruby/3.3.0/gems/aws-sdk-s3-1.158.0/lib/aws-sdk-s3.rb"}, "aws-sdk-s3|1.158.0|function"},
		{"ruby", Record{Kind: Ruby, Path: "/var/lang/lib/ruby/3.3.0/openssl/ssl.rb"}, "openssl||runtime"},
		{"java", Record{Kind: Class, Name: "com.x.A", Path: "/var/task/lib/jackson-databind-2.17.1.jar"}, "jackson-databind|2.17.1|function"},
		{"java", Record{Kind: Class, Name: "java.util.concurrent.Foo", Path: "shared objects file"}, "java.util||runtime"},
		{"go", Record{Kind: GoInit, Name: "github.com/a/b/c/d"}, "github.com/a/b||function"},
		{"go", Record{Kind: GoInit, Name: "net/http"}, "net/http||runtime"},
		{"go", Record{Kind: GoInit, Name: "main"}, "||function"},
		{"dotnet", Record{Kind: Assembly, Name: "Newtonsoft.Json, Version=13.0.0.0, Culture=neutral", Path: "/var/task/Newtonsoft.Json.dll"}, "Newtonsoft.Json|13.0.0.0|function"},
	}
	p := Profile{}
	for _, tt := range tests {
		pl := p.roots().locate(tt.runtime, &tt.rec)
		if got := fmt.Sprintf("%s|%s|%s", pl.name, pl.version, pl.origin); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.rec.Path, tt.rec.Name, got, tt.want)
		}
	}
}

// disk is an fstest.MapFS as Files.
type disk struct{ fstest.MapFS }

func (d disk) Read(name string, limit int64) ([]byte, error) {
	data, err := d.ReadFile(strings.TrimPrefix(name, "/"))
	if int64(len(data)) > limit {
		data = data[:limit]
	}
	return data, err
}

func (d disk) List(name string, limit int) ([]string, error) {
	entries, err := d.ReadDir(strings.TrimPrefix(name, "/"))
	var names []string
	for _, e := range entries[:min(limit, len(entries))] {
		names = append(names, e.Name())
	}
	return names, err
}

func (d disk) Size(name string) (int64, error) {
	info, err := fs.Stat(d, strings.TrimPrefix(name, "/"))
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("not a regular file")
	}
	return info.Size(), nil
}

func TestResolve(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	d := disk{fstest.MapFS{
		"var/task/node_modules/@aws-sdk/client-s3/package.json":   file(`{"version":"3.600.0"}`),
		"var/task/node_modules/@smithy/core/package.json":         file(`{"version":"2.0.0\n<b>"}`),
		"var/task/src/app.js.map":                                 file(strings.Repeat("x", 2000)),
		"var/task/boto3/__init__.py":                              file(""),
		"var/task/boto3-1.43.0.dist-info/RECORD":                  file("boto3/__init__.py,sha256=x,1\n"),
		"var/task/PyYAML-6.0.1.dist-info/top_level.txt":           file("_yaml\nyaml\n"),
		"var/task/python_dateutil-2.9.0.post0.dist-info/RECORD":   file("dateutil/__init__.py,,\nsix.py,,\npython_dateutil-2.9.0.post0.dist-info/METADATA,,\n"),
		"var/task/yaml/__pycache__/__init__.cpython-312.pyc":      file(""),
		"var/task/app/__pycache__/settings.cpython-311.opt-1.pyc": file(""),
	}}
	p := parse(t, node)
	p.Resolve(d)
	versions := map[string]string{}
	for _, u := range p.Tree().Usages() {
		versions[u.Name] = u.Version
	}
	if versions["@aws-sdk/client-s3"] != "3.600.0" || versions["@smithy/core"] != "" || p.Number(FactMapBytes) != 2000 {
		t.Errorf("%v, maps %d", versions, p.Number(FactMapBytes))
	}
	py := parse(t, "thaw-init\t1\tpython\t3.12.4\t7\t1790000000000000\n"+
		"r\t1\t0\tpy\t1\t100\t0\t-\tapp.settings\t/var/task/app/settings.py\n"+
		"r\t2\t1\tpy\t2\t30\t0\t-\tboto3\t/var/task/boto3/__init__.py\n"+
		"r\t3\t1\tpy\t30\t40\t0\t-\tyaml\t/var/task/yaml/__init__.py\n"+
		"r\t4\t1\tpy\t40\t50\t0\t-\tdateutil.tz\t/var/task/dateutil/tz/__init__.py\n")
	py.Resolve(d)
	var got []string
	py.Tree().Walk(func(n *Node) { got = append(got, n.Code.Label()) })
	if want := "the function's own code,boto3 1.43.0,PyYAML 6.0.1,python_dateutil 2.9.0.post0"; strings.Join(got, ",") != want {
		t.Errorf("got %s", strings.Join(got, ","))
	}
	if py.Number(FactPycChecked) != 4 || py.Number(FactPycMissing) != 3 {
		t.Errorf("bytecode: %d of %d missing", py.Number(FactPycMissing), py.Number(FactPycChecked))
	}
}

func TestRefused(t *testing.T) {
	for _, s := range []string{"", "\n", "thaw-init\n", "thaw-init\t2\tnodejs\t22\t1\t1\n", "thaw-init\t1\tnodejs\t22\t-1\t1\n", "thaw-init\t1\tnodejs\t22\t1\t1", "something else\n"} {
		if p, err := Parse([]byte(s)); err == nil {
			t.Errorf("%q: %+v", s, p)
		}
	}
}

// Cycles, unknown parents and children larger than their parents give a tree
// all the same, in which every record stands once.
func TestHostileTrees(t *testing.T) {
	var b strings.Builder
	b.WriteString("thaw-init\t1\tnodejs\t22\t1\t1\n")
	r := rand.New(rand.NewPCG(1, 2))
	for id := 1; id <= 50_000; id++ {
		fmt.Fprintf(&b, "r\t%d\t%d\tcjs\t%d\t%d\t1\t-\tm%d\t/var/task/node_modules/p%d/%d.js\n", id, r.IntN(9000), r.IntN(1e6), r.IntN(1e6), id, id%70, id)
	}
	p := parse(t, b.String())
	tree := p.Tree()
	seen := map[int]int{}
	tree.Walk(func(n *Node) {
		seen[n.ID]++
		if n.Self < 0 || n.Total < n.Self {
			t.Errorf("record %d: self %v, total %v", n.ID, n.Self, n.Total)
		}
	})
	if len(seen) != len(p.Records) || len(p.Records) > maxRecords || !p.Truncated() {
		t.Errorf("%d of %d records in the tree, truncated %v", len(seen), len(p.Records), p.Truncated())
	}
	tree.Show(0, 64)
	tree.Usages()
}

func TestPack(t *testing.T) {
	var b strings.Builder
	b.WriteString("thaw-init\t1\tnodejs\t22\t1\t1\nr\t1\t0\tcjs\t1\t4000000\t1\t-\tapp\t/var/task/app.js\n")
	r := rand.New(rand.NewPCG(3, 4))
	at := 10
	for id := 2; id <= 4000; id++ {
		took := 1 + int(r.ExpFloat64()*300)
		fmt.Fprintf(&b, "r\t%d\t1\tcjs\t%d\t%d\t%d\t-\tmodule-%x\t/var/task/node_modules/p%d/%x.js\n", id, at, at+took, id, r.Uint64(), id%40, r.Uint64())
		at += took
	}
	p := parse(t, b.String())
	packed, whole := p.Pack(20 << 10)
	if len(packed) == 0 || len(packed) > 20<<10 || whole {
		t.Fatalf("%d bytes", len(packed))
	}
	back, err := Unpack(packed)
	if err != nil {
		t.Fatal(err)
	}
	if !back.Truncated() || len(back.Records) >= len(p.Records) {
		t.Errorf("%d records of %d, truncated %v", len(back.Records), len(p.Records), back.Truncated())
	}
	want, got := map[string]*Usage{}, map[string]*Usage{}
	for _, u := range p.Tree().Usages() {
		want[u.Label()] = u
	}
	for _, u := range back.Tree().Usages() {
		got[u.Label()] = u
	}
	if other := got[OtherName]; other != nil {
		t.Errorf("packages of 30 ms became %+v", other)
	}
	for name, w := range want {
		if g := got[name]; g == nil || g.Modules != w.Modules || (g.Self-w.Self).Abs() > 10*time.Microsecond {
			t.Errorf("%s: %+v, want %+v", name, g, w)
		}
	}
	if small := parse(t, node); true {
		packed, whole := small.Pack(32 << 10)
		back, err := Unpack(packed)
		if err != nil || !whole || back.Tree().Sum() != small.Tree().Sum() || len(back.Records) != len(small.Records) || back.Truncated() {
			t.Errorf("a small profile changed: %v %+v", err, back)
		}
	}
}

// Many packages with next to nothing each do not crowd out those that count.
func TestPackManyPackages(t *testing.T) {
	var b strings.Builder
	b.WriteString("thaw-init\t1\tnodejs\t22\t1\t1\nr\t1\t0\tcjs\t1\t92000\t1\t-\tapp\t/var/task/app.js\n" +
		"r\t2\t1\tcjs\t3000\t63000\t9000\t-\tsharp\t/var/task/node_modules/sharp/index.js\n")
	for i := 3; i < 8000; i++ {
		fmt.Fprintf(&b, "r\t%d\t1\tcjs\t%d\t%d\t1\t-\tname\t/var/task/node_modules/p%d%s/i%d.js\n", i, 63000+i, 63000+i+1, i%3000, strings.Repeat("x", 30), i)
	}
	p := parse(t, b.String())
	packed, _ := p.Pack(20_000)
	back, err := Unpack(packed)
	if err != nil {
		t.Fatal(err)
	}
	tree := back.Tree()
	var other *Usage
	for _, u := range tree.Usages() {
		if u.Name == OtherName {
			other = u
		}
	}
	if tree.Sum() != p.Tree().Sum() || tree.Usages()[0].Name != "sharp" || other == nil || other.Modules != 7997 {
		t.Errorf("sum %v, want %v; other %+v", tree.Sum(), p.Tree().Sum(), other)
	}
}

func TestUnpackDistrusts(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("x"), (&Profile{}).zip()[:8]} {
		if p, err := Unpack(b); err == nil {
			t.Errorf("%q: %+v", b, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(node))
	f.Add([]byte("thaw-init\t1\tpython\t3.12\t1\t1\nr\t1\t1\tpy\t1\t0\t0\tels7\ta.b\t/var/task/a/b.py\np\tpy\t3\t9\t1\tx\nk\ta\t1\t/var/task/a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		tree := p.Tree()
		sum := time.Duration(0)
		tree.Walk(func(n *Node) {
			if n.Self < 0 || n.Total < n.Self {
				t.Fatalf("self %v, total %v", n.Self, n.Total)
			}
			sum += n.Self
			_, _ = tree.Label(n), tree.Chain(n)
		})
		tree.Show(time.Millisecond, 8)
		tree.Usages()
		_ = tree.InsideText()
		p.Resolve(disk{fstest.MapFS{}})
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(b.Bytes())
		if err != nil || len(back.Records) != len(p.Records) || back.Skipped != 0 {
			t.Fatalf("what was written is not what was read: %v, %d of %d records, %d skipped", err, len(back.Records), len(p.Records), back.Skipped)
		}
		_, _ = p.Pack(4 << 10)
	})
}

// BenchmarkReader is what the extension does with the profile of an ordinary
// init, and with the largest that it takes.
func BenchmarkReader(b *testing.B) {
	for _, modules := range []int{160, maxRecords} {
		var f strings.Builder
		f.WriteString("thaw-init\t1\tnodejs\t22\t1\t1\n")
		for i := 1; i <= modules; i++ {
			fmt.Fprintf(&f, "r\t%d\t%d\tcjs\t%d\t%d\t1\t-\tname\t/var/task/node_modules/p%d/i%d.js\n", i, i/4, 2*i, 2*i+1, i%300, i)
		}
		data := []byte(f.String())
		b.Run(fmt.Sprint(modules), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				t := p.Tree()
				t.Usages()
				t.Show(3*time.Millisecond, 64)
				p.Pack(48 << 10)
			}
		})
	}
}
