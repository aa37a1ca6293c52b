// Package hooktest holds the init profile's hooks against the wire of
// layer/HOOKS.md: it reads the test vectors, starts functions under a Runtime
// API, and reads what their hooks wrote, more strictly than the extension does.
// It is for tests.
package hooktest

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// Vector is one of layer/testdata/vectors.
type Vector struct {
	Name, Comment string
	// Cases are the functions, by runtime.
	Cases map[string]*Case
	// Wire is a file for the reader, and Want what it must read from it.
	Wire []byte
	Want string
}

// Case is a vector's function in one runtime.
type Case struct {
	Files map[string]string
	Env   []string
	How   How
	Want  string
}

// How a case's function runs.
type How string

const (
	Invoke How = "invoke" // the init, one invocation, the end
	Throw  How = "throw"  // the init fails, and the process exits
	Kill   How = "kill"   // the init hangs, and the process is killed
)

// Read reads the vectors in a folder.
func Read(t testing.TB, dir string) []Vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("hooktest: no vectors in %s: %v", dir, err)
	}
	vectors := make([]Vector, len(files))
	for i, file := range files {
		if vectors[i], err = read(file); err != nil {
			t.Fatalf("hooktest: %s: %v", file, err)
		}
	}
	return vectors
}

func read(file string) (Vector, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return Vector{}, err
	}
	v := Vector{
		Name:    strings.TrimSuffix(filepath.Base(file), ".txtar"),
		Comment: strings.TrimSpace(string(archive.Comment)),
		Cases:   map[string]*Case{},
	}
	for _, f := range archive.Files {
		if err := v.add(f.Name, f.Data); err != nil {
			return Vector{}, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return v, nil
}

func (v *Vector) add(name string, data []byte) error {
	switch name {
	case "wire":
		v.Wire = data
		return nil
	case "wire.torn":
		v.Wire = data[:len(data)-1]
		return nil
	case "want":
		v.Want = string(data)
		return nil
	}
	if runtime, path, ok := strings.Cut(name, "/"); ok {
		v.in(runtime).Files[path] = string(data)
		return nil
	}
	runtime, what, _ := strings.Cut(name, ".")
	c := v.in(runtime)
	switch what {
	case "env":
		c.Env = strings.Fields(string(data))
	case "how":
		c.How = How(strings.TrimSpace(string(data)))
	case "want":
		c.Want = string(data)
	default:
		return fmt.Errorf("a vector has no such part")
	}
	return nil
}

func (v *Vector) in(runtime string) *Case {
	if v.Cases[runtime] == nil {
		v.Cases[runtime] = &Case{Files: map[string]string{}, How: Invoke}
	}
	return v.Cases[runtime]
}

// Write writes the case's function into a folder that anybody may read.
func (c *Case) Write(t testing.TB, dir string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(c.Files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Run starts each vector's function for the runtime and compares what its hook
// wrote. command returns how the runtime is started for a function in dir, with
// its hook and without an environment; except names vectors that it cannot do.
func Run(t *testing.T, dir, runtime string, command func(dir string) Command, except ...string) {
	ran := 0
	for _, v := range Read(t, dir) {
		c := v.Cases[runtime]
		if c == nil || slices.Contains(except, v.Name) {
			continue
		}
		ran++
		t.Run(v.Name, func(t *testing.T) { c.run(t, runtime, command) })
	}
	if ran == 0 {
		t.Errorf("no vector for %s", runtime)
	}
}

func (c *Case) run(t *testing.T, runtime string, command func(dir string) Command) {
	dir := t.TempDir()
	c.Write(t, dir)
	start := command(dir)
	start.Dir = dir
	start.Env = append(start.Env, c.Env...)
	f := Start(t, start)
	switch c.How {
	case Invoke:
		f.Invoke(`{}`)
		f.WaitNext(2)
		f.Kill()
	case Throw:
		f.WaitExit()
	case Kill:
		f.WaitProfile(lastLine(c.Want))
		f.Kill()
	default:
		t.Fatalf("a vector cannot run as %q", c.How)
	}
	content := f.Profile()
	if c.Want == "" && content == nil {
		return
	}
	p, err := Parse(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if p.Runtime != runtime {
		t.Errorf("the file says it is from %q", p.Runtime)
	}
	if got := p.Tree(dir); got != c.Want {
		t.Errorf("got\n%swant\n%sfrom\n%s", got, c.Want, content)
	}
	if err := p.Check(); err != nil {
		t.Errorf("%v\n%s", err, content)
	}
	if got, err := readerTree(content, dir); err != nil || got != c.Want {
		t.Errorf("the extension reads %v\n%swant\n%s", err, got, c.Want)
	}
}

// readerTree is the normalised tree as the extension reads it.
func readerTree(content []byte, below string) (string, error) {
	read, err := initprofile.Parse(content)
	if err != nil {
		return "", err
	}
	if read.Skipped > 0 {
		return "", fmt.Errorf("%d lines were skipped", read.Skipped)
	}
	p := &Profile{byID: map[int]*Record{}}
	for _, r := range read.Records {
		end := r.End.Microseconds()
		if r.Open {
			end = 0
		}
		p.add(&Record{r.ID, r.Parent, string(r.Kind), r.Start.Microseconds(), end, r.Bytes, readerFlags(r), r.Name, r.Path})
	}
	p.sort()
	return p.Tree(below), nil
}

func readerFlags(r initprofile.Record) string {
	flags := ""
	if r.Threw {
		flags += "e"
	}
	if r.Late {
		flags += "l"
	}
	if r.Approximate {
		flags += "a"
	}
	return cmp.Or(flags, "-")
}

// lastLine is the path in the last line of a want: in an init that hangs, the
// module that hangs.
func lastLine(want string) string {
	lines := strings.Split(strings.TrimSpace(want), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	return fields[2]
}
