// Package dotnet_test builds and runs the .NET hook where there is an SDK.
package dotnet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// The SDK comes from no registry that tests may count on, so this test may be
// skipped, in CI as well: .ci/skips says so.
func TestHook(t *testing.T) {
	dotnet, err := exec.LookPath("dotnet")
	if err == nil {
		var sdks []byte
		if sdks, err = exec.Command(dotnet, "--list-sdks").Output(); err == nil && len(sdks) == 0 {
			err = exec.ErrNotFound
		}
	}
	if err != nil {
		t.Skipf("SKIPPED: no .NET SDK (%v): the hook is neither built nor tested", err)
	}
	dir := t.TempDir()
	build := func(project, out string) {
		cmd := exec.Command(dotnet, "build", project, "-c", "Release", "-o", out, "-p:BaseIntermediateOutputPath="+t.TempDir()+"/")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	build("Thaw.StartupHook.csproj", filepath.Join(dir, "hook"))
	build("testdata/app/app.csproj", filepath.Join(dir, "app"))
	run := func(env ...string) (output string, profiles []string) {
		folder := filepath.Join(t.TempDir(), "profiles")
		cmd := exec.Command(dotnet, filepath.Join(dir, "app", "app.dll"))
		cmd.Env = append(os.Environ(), append(env, "THAW_PROFILE_DIR="+folder, "DOTNET_STARTUP_HOOKS="+filepath.Join(dir, "hook", "Thaw.StartupHook.dll"))...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		profiles, err = filepath.Glob(filepath.Join(folder, "init-*.tsv"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out), profiles
	}
	const want = "{\"Hooks\":null}\n"
	if out, profiles := run("THAW_PROFILE=off"); out != want || len(profiles) != 0 {
		t.Errorf("turned off: %q, %v", out, profiles)
	}
	out, profiles := run()
	if out != want || len(profiles) != 1 {
		t.Fatalf("%q, %v", out, profiles)
	}
	content, err := os.ReadFile(profiles[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := hooktest.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	for _, r := range p.Records {
		if r.Kind == "assembly" && strings.HasPrefix(r.Name, "System.Text.Json,") && r.Path != "" {
			return
		}
	}
	t.Errorf("System.Text.Json is not on record:\n%s", content)
}
