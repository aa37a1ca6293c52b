package node_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/thaw-lambda/thaw/layer"
	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// node is one of the Node.js versions that Lambda has.
type node struct {
	name, path string
	// without are the vectors that it cannot do.
	without []string
}

// nodes are Node.js 20, 22 and 24.
func nodes(t testing.TB) []node {
	dirs := installed(t)
	binary := func(name string) string { return filepath.Join(dirs[name], "bin", "node") }
	return []node{
		// module.registerHooks came with 22.15.
		{"node20", binary("20"), []string{"esm-load", "esm-eval"}},
		{"node22", binary("node"), nil},
		{"node24", binary("24"), nil},
	}
}

// node22 is the version for what does not depend on it.
func node22(t testing.TB) node { return nodes(t)[1] }

var installed = func() func(testing.TB) map[string]string {
	find := sync.OnceValues(func() (map[string]string, error) {
		dirs := map[string]string{}
		for _, script := range []string{"../../examples/testdata/install-rics.sh", "testdata/install.sh"} {
			output, err := exec.Command(script, "--check").CombinedOutput()
			if err != nil {
				return nil, fmt.Errorf("%s", output)
			}
			for line := range strings.Lines(string(output)) {
				name, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
				dirs[name] = dir
			}
		}
		return dirs, nil
	})
	return func(t testing.TB) map[string]string {
		t.Helper()
		dirs, err := find()
		if err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		if err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
		return dirs
	}
}()

func abs(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// bare is a function under the small runtime client, without the hook.
func (n node) bare(t testing.TB, dir string) hooktest.Command {
	return hooktest.Command{
		Args: []string{n.path, abs(t, "../../examples/runtime/node/bootstrap.cjs")},
		Dir:  dir,
	}
}

// hooked is the same with the hook.
func (n node) hooked(t testing.TB, dir string, env ...string) hooktest.Command {
	c := n.bare(t, dir)
	c.Env = append([]string{"NODE_OPTIONS=--require " + abs(t, "thaw.cjs")}, env...)
	return c
}

// underRIC is a function under AWS's runtime client. That needs Node.js 22.
func underRIC(t testing.TB, c hooktest.Command) hooktest.Command {
	c.Args = []string{node22(t).path, filepath.Join(installed(t)["aws-lambda-ric"], "node_modules", "aws-lambda-ric", "index.mjs"), "app.handler"}
	return c
}

// write writes a function.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	(&hooktest.Case{Files: files}).Write(t, dir)
	return dir
}

// real is a function with real packages: two clients of the AWS SDK, lodash, and
// a barrel that re-exports 120 files.
func real(t testing.TB) string {
	t.Helper()
	files := map[string]string{"app.js": `
const { S3Client } = require("@aws-sdk/client-s3");
const { DynamoDBClient } = require("@aws-sdk/client-dynamodb");
const _ = require("lodash");
const shapes = require("./shapes");
const s3 = new S3Client({ region: "us-east-1" });
const ddb = new DynamoDBClient({ region: "us-east-1" });
exports.handler = async (event) => (event.exit ? process.exit(0) : _.add(shapes.area7(2), 3));
`}
	var barrel strings.Builder
	for i := range 120 {
		files[fmt.Sprintf("shapes/shape%d.js", i)] = fmt.Sprintf(`
class Shape { constructor(n) { this.n = n; } area() { return this.n * %[1]d; } }
exports.area%[1]d = (n) => new Shape(n).area();
exports.table%[1]d = Array.from({ length: 500 }, (_, i) => i * %[1]d);
`, i)
		fmt.Fprintf(&barrel, "Object.assign(exports, require('./shape%d'));\n", i)
	}
	files["shapes/index.js"] = barrel.String()
	dir := write(t, files)
	if err := os.Symlink(filepath.Join(installed(t)["packages"], "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func parse(t testing.TB, content []byte) *hooktest.Profile {
	t.Helper()
	p, err := hooktest.Parse(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if err := p.Check(); err != nil {
		t.Errorf("%v\n%s", err, content)
	}
	return p
}

func mark(t testing.TB, p *hooktest.Profile, name string) int64 {
	t.Helper()
	us, err := strconv.ParseInt(p.Marks[name], 10, 64)
	if err != nil {
		t.Fatalf("mark %s: %v", name, err)
	}
	return us
}

func number(t testing.TB, s string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestVectors(t *testing.T) {
	for _, n := range nodes(t) {
		t.Run(n.name, func(t *testing.T) {
			hooktest.Run(t, "../testdata/vectors", "nodejs", func(dir string) hooktest.Command { return n.hooked(t, dir) }, n.without...)
		})
	}
}

// Through AWS's own runtime client the vectors come out as well.
func TestVectorsUnderRIC(t *testing.T) {
	hooktest.Run(t, "../testdata/vectors", "nodejs", func(dir string) hooktest.Command {
		return underRIC(t, node22(t).hooked(t, dir))
	})
}

func TestRealPackages(t *testing.T) {
	f := func(c hooktest.Command) {
		t.Helper()
		fn := hooktest.Start(t, c)
		if got := fn.Invoke(`{}`); got.Kind != "response" || got.Body != "17" {
			t.Errorf("%s %s", got.Kind, got.Body)
		}
		fn.WaitNext(2)
		p := parse(t, fn.Profile())
		checkReal(t, p, c.Dir)
	}
	for _, n := range nodes(t) {
		f(n.hooked(t, real(t)))
	}
	f(underRIC(t, node22(t).hooked(t, real(t))))
}

// checkReal holds what a person would want to read from the profile of real.
func checkReal(t *testing.T, p *hooktest.Profile, dir string) {
	t.Helper()
	files := map[string]int{}
	var barrel, s3 *hooktest.Record
	children := map[int]int{}
	for _, r := range p.Records {
		children[r.Parent]++
		switch {
		case r.Path == dir+"/shapes/index.js":
			barrel = r
		case strings.HasSuffix(r.Path, "/@aws-sdk/client-s3/dist-cjs/index.js"):
			s3 = r
		}
		if _, rest, ok := strings.Cut(r.Path, "/node_modules/"); ok {
			files[strings.Split(rest, "/")[0]]++
		}
	}
	if barrel == nil || children[barrel.ID] != 120 {
		t.Errorf("barrel %+v has %d children", barrel, children[barrel.ID])
	}
	if s3 == nil || s3.Name != "@aws-sdk/client-s3" || s3.Bytes < 100_000 || s3.End-s3.Start < 5000 {
		t.Errorf("client-s3: %+v", s3)
	}
	if files["@smithy"] < 10 || files["lodash"] != 1 {
		t.Errorf("files %v", files)
	}
	if begin, end, next := mark(t, p, "handler_begin"), mark(t, p, "handler_end"), mark(t, p, "first_next"); begin >= end || end > next {
		t.Errorf("handler from %d to %d, first next %d", begin, end, next)
	}
	t.Logf("%s: %d records; the hook cost %s of %s µs", p.Version, len(p.Records), p.Marks["hook_us"], p.Marks["first_next"])
}

// As the layer has it, with nothing but AWS_LAMBDA_EXEC_WRAPPER set.
func TestWrapper(t *testing.T) {
	var zip bytes.Buffer
	if err := layer.Pack(&zip, strings.NewReader("#!/bin/sh\n")); err != nil {
		t.Fatal(err)
	}
	opt := filepath.Join(t.TempDir(), "opt")
	file := filepath.Join(t.TempDir(), "layer.zip")
	if err := os.WriteFile(file, zip.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := layer.Unpack(file, opt); err != nil {
		t.Fatal(err)
	}
	wrapper := filepath.Join(opt, layer.HooksPath, "wrapper")
	for _, n := range nodes(t) {
		dir := real(t)
		c := n.bare(t, dir)
		c.Args = append([]string{wrapper}, c.Args...)
		c.Env = []string{"AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x", "AWS_LAMBDA_EXEC_WRAPPER=" + wrapper}
		content := same(t, n.bare(t, dir), c)
		checkReal(t, parse(t, content), dir)
	}
}
