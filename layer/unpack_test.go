package layer_test

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer"
)

// entry is one of a zip; a link's content is its target.
type entry struct {
	name    string
	mode    fs.FileMode
	content string
}

// zipOf writes a zip as nobody honest would.
func zipOf(t *testing.T, entries ...entry) string {
	t.Helper()
	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		header.SetMode(e.mode)
		out, err := archive.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if e.mode.IsDir() {
			continue
		}
		if _, err := out.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return writeZip(t, buf.Bytes())
}

func writeZip(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layer.zip")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnpackRefuses(t *testing.T) {
	f := func(want string, entries ...entry) {
		t.Helper()
		parent := t.TempDir()
		dst := filepath.Join(parent, "opt")
		err := layer.Unpack(zipOf(t, entries...), dst)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", entries[0].name, err, want)
		}
		checkHarmless(t, parent, dst)
	}
	const outside = "leads out of the layer"
	const link = fs.ModeSymlink | 0o777
	f(outside, entry{"../evil", 0o644, "x"})
	f(outside, entry{"a/../../evil", 0o644, "x"})
	f(outside, entry{"/evil", 0o644, "x"})
	f(outside, entry{`..\evil`, 0o644, "x"})
	f(outside, entry{`a\b`, 0o644, "x"})
	f(outside, entry{"../evil/", fs.ModeDir | 0o755, ""})
	f("has no name", entry{"", 0o644, "x"})
	f("has no name", entry{"a/..", 0o644, "x"})
	f(outside, entry{"link", link, "/etc/passwd"})
	f("link to nothing in the layer", entry{"link", link, "../../etc/passwd"})
	f("link to nothing in the layer", entry{"link", link, "missing"})
	f("link to nothing in the layer", entry{"a", link, "b"}, entry{"b", link, "a"})
	// Each of these leads out only together with the other.
	f("link to nothing in the layer",
		entry{"d/", fs.ModeDir | 0o755, ""}, entry{"d/up", link, ".."}, entry{"out", link, "d/up/.."})
	// Writing through a link.
	f("evil", entry{"dir", link, ".."}, entry{"dir/evil", 0o644, "x"})
	f("which no layer needs", entry{"pipe", fs.ModeNamedPipe | 0o644, ""})
	f("which no layer needs", entry{"null", fs.ModeDevice | fs.ModeCharDevice | 0o666, ""})
	f("a/b", entry{"a", 0o644, "x"}, entry{"a/b", 0o644, "x"})
}

// checkHarmless fails if something appeared beside dst, or a link in it leads out.
func checkHarmless(t *testing.T, parent, dst string) {
	t.Helper()
	siblings, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, sibling := range siblings {
		if sibling.Name() != filepath.Base(dst) {
			t.Errorf("there is %s beside it", sibling.Name())
		}
	}
	err = filepath.WalkDir(dst, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		resolved, err := filepath.EvalSymlinks(path)
		if err == nil && !strings.HasPrefix(resolved, dst) {
			t.Errorf("%s leads to %s", path, resolved)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUnpackRefusesABomb(t *testing.T) {
	// 260 MB of zeros in a quarter of a megabyte.
	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	out, err := archive.Create("zeros")
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range 260 {
		if _, err := out.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	err = layer.Unpack(writeZip(t, buf.Bytes()), dst)
	if err == nil || !strings.Contains(err.Error(), "larger than 250 MB") {
		t.Errorf("got %v", err)
	}
	info, err := os.Stat(filepath.Join(dst, "zeros"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 250<<20+1 {
		t.Errorf("it wrote %d bytes", info.Size())
	}
}

func TestUnpackRefusesDamage(t *testing.T) {
	if err := layer.Unpack(writeZip(t, []byte("no zip")), t.TempDir()); err == nil {
		t.Error("it read what is no zip")
	}
	whole := zipOf(t, entry{"data", 0o644, strings.Repeat("thaw", 1000)})
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	content[40] ^= 0xff // in the compressed data
	if err := layer.Unpack(writeZip(t, content), t.TempDir()); err == nil {
		t.Error("it did not notice the damage")
	}
	if err := layer.Unpack(filepath.Join(t.TempDir(), "missing"), t.TempDir()); err == nil {
		t.Error("it read what is not there")
	}
}

func TestUnpackLayers(t *testing.T) {
	dst := t.TempDir()
	first := zipOf(t,
		entry{"bin/", fs.ModeDir | 0o700, ""},
		entry{"bin/tool-1.0", 0o755, "first"},
		entry{"bin/tool", fs.ModeSymlink | 0o777, "tool-1.0"},
		entry{"kept", 0o640, "first"},
		entry{"set", fs.ModeSetuid | 0o755, ""},
	)
	second := zipOf(t, entry{"bin/tool", 0o755, "second"})
	for _, file := range []string{first, second} {
		if err := layer.Unpack(file, dst); err != nil {
			t.Fatal(err)
		}
	}
	f := func(name string, mode fs.FileMode, want string) {
		t.Helper()
		path := filepath.Join(dst, name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil || string(content) != want || info.Mode() != mode {
			t.Errorf("%s: %v %q, %v", name, info.Mode(), content, err)
		}
	}
	f("bin/tool", 0o755, "second") // replaced, not written through the link
	f("bin/tool-1.0", 0o755, "first")
	f("kept", 0o640, "first")
	f("set", 0o755, "")
	if info, err := os.Stat(filepath.Join(dst, "bin")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("bin: %v, %v", info.Mode(), err)
	}

	linked := t.TempDir()
	if err := layer.Unpack(first, linked); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(linked, "bin", "tool")); err != nil || target != "tool-1.0" {
		t.Errorf("link to %q, %v", target, err)
	}
}
