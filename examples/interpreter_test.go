package examples

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindInterpreterRefuses(t *testing.T) {
	f := func(name, script, want string) {
		t.Helper()
		dir := openDir(t)
		write(t, filepath.Join(dir, name), script)
		_, err := findInterpreter(t.Context(), name, []string{dir})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("node", "#!/bin/sh\necho v16.20.0", "version 16.20, older than 18.0")
	f("python3", "#!/bin/sh\necho Python 3.8.19", "version 3.8, older than 3.9")
	f("node", "#!/bin/sh\nexit 3", "exit status 3")
	f("node", "#!/bin/sh\necho hello", `printed "hello\n"`)
}

func TestFindInterpreterRefusesRootsOwn(t *testing.T) {
	closed := openDir(t)
	write(t, filepath.Join(closed, "home", "node"), "#!/bin/sh\necho v22.1.0")
	chmod(t, filepath.Join(closed, "home"), 0o700)
	link := openDir(t)
	if err := os.Symlink(filepath.Join(closed, "home", "node"), filepath.Join(link, "node")); err != nil {
		t.Fatal(err)
	}
	// A wrapper that everybody can execute but that leads to what they cannot,
	// as version managers have them.
	shim := openDir(t)
	write(t, filepath.Join(shim, "node"), "#!/bin/sh\nexec "+filepath.Join(closed, "home", "node"))
	good := openDir(t)
	write(t, filepath.Join(good, "node"), "#!/bin/sh\necho v22.1.0")

	dirs := []string{filepath.Join(closed, "home"), link, shim}
	found, err := findInterpreter(t.Context(), "node", dirs)
	if os.Geteuid() != 0 {
		// Functions run as whoever is not root, so what he can execute will do.
		if err != nil || found.Path != filepath.Join(closed, "home", "node") {
			t.Errorf("got %+v, %v", found, err)
		}
		return
	}
	if err == nil || strings.Count(err.Error(), "cannot be executed by other users") != 2 || !strings.Contains(err.Error(), "ermission denied") {
		t.Errorf("got %v", err)
	}
	found, err = findInterpreter(t.Context(), "node", append(dirs, good))
	if err != nil || found.Path != filepath.Join(good, "node") || found.Runtime() != "nodejs22.x" {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestFindInterpreterNotThere(t *testing.T) {
	_, err := findInterpreter(context.Background(), "node", []string{t.TempDir(), "", "relative"})
	if err == nil || !strings.HasPrefix(err.Error(), "no node in PATH") {
		t.Errorf("got %v", err)
	}
}

// openDir is a directory that every user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	chmod(t, filepath.Dir(dir), 0o755)
	chmod(t, dir, 0o755)
	return dir
}

func write(t *testing.T, file, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}
