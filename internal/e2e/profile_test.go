package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/report"
)

// profile runs `thaw run --profile` on a function, as a user does.
func profile(t *testing.T, files map[string]string, args ...string) (rep *report.Report, out, stdout, stderr string) {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin(t, "thaw"), append(append([]string{"run", "--profile", "--name", "profiled", "--out", out}, args...), dir)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, o.String(), e.String())
	}
	noneLeft(t)
	data, err := os.ReadFile(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Functions) != 1 {
		t.Fatalf("%d functions\n%s%s", len(rep.Functions), o.String(), e.String())
	}
	return rep, out, o.String(), e.String()
}

// packageOf returns a package of a profile.
func packageOf(t *testing.T, p report.InitProfile, name string) report.ProfiledPackage {
	t.Helper()
	for _, u := range p.Packages {
		if u.Name == name {
			return u
		}
	}
	t.Fatalf("%s is not among the packages: %+v", name, p.Packages)
	return report.ProfiledPackage{}
}

// checkProfile holds what every profiled cold start has: parts that are
// measured and add up, and modules that do not take more than the init.
func checkProfile(t *testing.T, p report.InitProfile) {
	t.Helper()
	sum, modules, basis := 0.0, 0.0, map[string]string{}
	for _, part := range p.Parts {
		sum += part.MeanMS
		basis[part.Part] = part.Basis
	}
	for _, m := range p.Modules {
		modules += m.SelfMS
	}
	if diff := sum - p.InitMS; diff > 0.1 || diff < -0.1 || basis["runtime"] != "measured" || basis["function"] != "measured" {
		t.Errorf("parts sum to %g of %g ms: %+v", sum, p.InitMS, p.Parts)
	}
	if modules <= 0 || modules > p.InitMS {
		t.Errorf("modules take %g of %g ms", modules, p.InitMS)
	}
	if p.HookMS <= 0 || p.HookMS > p.InitMS/4 {
		t.Errorf("the hook says it took %g of %g ms", p.HookMS, p.InitMS)
	}
}

const spin = "{const end = process.hrtime.bigint() + 60000000n; while (process.hrtime.bigint() < end);}\n"

// A function of Node.js, profiled on the laptop: every file is written, the
// package and who imports it are named, and go tool pprof agrees.
func TestProfileNode(t *testing.T) {
	rep, out, stdout, _ := profile(t, map[string]string{
		"app.js":      "require('./lib/load');\nexports.handler = async (event) => ({ok: event.name});\n",
		"lib/load.js": "exports.heavy = require('heavy-package');\n",
		"node_modules/heavy-package/package.json":  `{"name":"heavy-package","version":"1.2.3","main":"index.js"}`,
		"node_modules/heavy-package/index.js":      spin,
		"node_modules/heavy-package/not-loaded.js": spin,
		"event.json": `{"name":"x"}`,
	}, "--runtime", "nodejs", "--handler", "app.handler", "--memory", "1024")
	f := rep.Functions[0]
	if f.Invocations != 3 || f.ColdStarts != 1 || len(f.Profiles) != 1 {
		t.Fatalf("%d invocations, %d cold, %d profiles\n%s", f.Invocations, f.ColdStarts, len(f.Profiles), stdout)
	}
	p := f.Profiles[0]
	checkProfile(t, p)
	heavy := packageOf(t, p, "heavy-package")
	if chain := strings.Join(heavy.ImportedBy, " > "); heavy.Version != "1.2.3" || heavy.SelfMS < 55 || heavy.Modules != 1 || !strings.HasSuffix(chain, "app.js > lib/load.js") {
		t.Errorf("%+v", heavy)
	}
	if !strings.Contains(stdout, "heavy-package 1.2.3") || !strings.Contains(stdout, "init.pb.gz") {
		t.Errorf("the summary does not name the package:\n%s", stdout)
	}
	for _, file := range []string{"report.html", "report.md", "report.json", "init.pb.gz", "init.folded", "init.speedscope.json"} {
		if info, err := os.Stat(filepath.Join(out, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	top, err := exec.Command("go", "tool", "pprof", "-top", "-unit=ms", filepath.Join(out, "init.pb.gz")).CombinedOutput()
	if err != nil || !strings.Contains(string(top), "heavy-package/index.js") {
		t.Errorf("go tool pprof: %v\n%s", err, top)
	}
	// Over all cold starts, by the collector's metrics.
	found := false
	for _, u := range f.Packages {
		if u.Name == "heavy-package" && u.Version == "1.2.3" && u.InitMS.Have == 1 && u.Share > 0.05 {
			found = true
		}
	}
	if !found {
		t.Errorf("the metrics do not know the package: %+v", f.Packages)
	}
}

func TestProfilePython(t *testing.T) {
	rep, _, stdout, _ := profile(t, map[string]string{
		"app.py":                          "import heavy\nimport json\n\ndef handler(event, context):\n    import csv\n    return {'ok': True}\n",
		"heavy/__init__.py":               "import time\nend = time.perf_counter() + 0.06\nwhile time.perf_counter() < end:\n    pass\n",
		"heavy_dist-4.5.dist-info/RECORD": "heavy/__init__.py,,\n",
	}, "--runtime", "python", "--handler", "app.handler", "--memory", "1024", "--invocations", "2")
	f := rep.Functions[0]
	if len(f.Profiles) != 1 {
		t.Fatalf("%d profiles\n%s", len(f.Profiles), stdout)
	}
	checkProfile(t, f.Profiles[0])
	heavy := packageOf(t, f.Profiles[0], "heavy_dist")
	if heavy.Version != "4.5" || heavy.SelfMS < 55 || heavy.Origin != "function" {
		t.Errorf("%+v", heavy)
	}
	if late := packageOf(t, f.Profiles[0], "csv"); late.LateMS <= 0 || late.SelfMS != 0 {
		t.Errorf("what the first invocation imported: %+v", late)
	}
}

// An init that hangs until the platform ends it says where it was.
func TestProfileOfAHungInit(t *testing.T) {
	rep, _, stdout, stderr := profile(t, map[string]string{
		"app.js":      "require('./lib/slow');\nexports.handler = async () => ({});\n",
		"lib/slow.js": "require('zlib');\nAtomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000);\n",
	}, "--runtime", "nodejs", "--handler", "app.handler", "--memory", "1024", "--timeout", "3s", "--invocations", "1")
	claims := ""
	for _, f := range rep.Findings {
		claims += f.ID + " " + f.Claim + "\n"
	}
	if !strings.Contains(claims, "init-inside Init timed out inside lib/slow.js.") {
		t.Errorf("findings:\n%s\n%s\n%s", claims, stdout, stderr)
	}
}
