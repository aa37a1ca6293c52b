package layer_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/thaw-lambda/thaw/layer"
)

// script is an extension that Linux can execute anywhere.
const script = "#!/bin/sh\necho thawed\n"

// pack writes a layer with the content to a file.
func pack(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layer.zip")
	var buf bytes.Buffer
	if err := layer.Pack(&buf, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPackUnpack(t *testing.T) {
	previous := syscall.Umask(0o077)
	defer syscall.Umask(previous)
	dst := filepath.Join(t.TempDir(), "opt")
	if err := layer.Unpack(pack(t, script), dst); err != nil {
		t.Fatal(err)
	}
	checkRuns(t, dst)
	// And again over it, as a redeployment would.
	if err := layer.Unpack(pack(t, script), dst); err != nil {
		t.Fatal(err)
	}
	checkRuns(t, dst)
}

func checkRuns(t *testing.T, dst string) {
	t.Helper()
	extension := filepath.Join(dst, "extensions", "thaw")
	for _, name := range []string{extension, filepath.Dir(extension)} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if out, err := exec.Command(extension).CombinedOutput(); err != nil || string(out) != "thawed\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestPackIsDeterministic(t *testing.T) {
	first, second := pack(t, script), pack(t, script)
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("one binary, two zips")
	}
}

func TestPackFails(t *testing.T) {
	broken := errors.New("broken")
	if err := layer.Pack(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	file, err := os.Open(os.DevNull) // not open for writing
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := layer.Pack(file, strings.NewReader(script)); err == nil {
		t.Error("it wrote to a file that cannot be written")
	}
}

// Others read the zip as it is meant: unzip, and Python's zipfile.
func TestOtherToolsReadTheZip(t *testing.T) {
	f := func(want string, command ...string) {
		t.Helper()
		if _, err := exec.LookPath(command[0]); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Logf("SKIPPED: %v", err)
			return
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", command, err, out)
		}
	}
	file := pack(t, script)
	f("No errors detected", "unzip", "-t", file)
	f("-rwxr-xr-x", "unzip", "-Z", file, "extensions/thaw")
	f("80-Jan-01 00:00", "unzip", "-Z", file)
	f("-rwxr-xr-x", "unzip", "-Z", file, "thaw/wrapper")
	f("-rw-r--r--", "unzip", "-Z", file, "thaw/node/thaw.cjs")
	f("[('extensions/thaw', '0o100755', (1980, 1, 1, 0, 0, 0), '#!/bin/sh\\necho thawed\\n')]",
		"/usr/bin/python3", "-c", `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
print([(i.filename, oct(i.external_attr >> 16), i.date_time, z.read(i).decode()) for i in z.infolist()[:1]])`, file)

	dst := t.TempDir()
	f("inflating", "unzip", "-d", dst, file)
	if _, err := exec.LookPath("unzip"); err == nil {
		checkRuns(t, dst)
	}
}

// The promise: what users upload is at most 4 MB.
func TestExtensionFitsInto4MB(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the extension")
	}
	const limit = 4 << 20
	for goarch, want := range map[string]string{"amd64": "x86_64", "arm64": "arm64"} {
		binary := filepath.Join(t.TempDir(), "thaw-extension")
		build := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../cmd/thaw-extension")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		if got, err := layer.Architecture(binary); err != nil || got != want {
			t.Errorf("architecture %q, %v", got, err)
		}
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		var zip bytes.Buffer
		if err := layer.Pack(&zip, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: the binary has %d bytes, the layer %d", want, len(content), zip.Len())
		if zip.Len() > limit {
			t.Errorf("%s: the layer has %d bytes", want, zip.Len())
		}
	}
}

func TestArchitectureRefuses(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got, err := layer.Architecture(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	f(file, "is not a Linux executable")
	f(file+"-not-there", "no such file")
	f("/bin/sh", "linked dynamically")
}
