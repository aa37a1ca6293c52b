package examples

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Assembled is a function's directory and how to start what is in it.
type Assembled struct {
	// Dir is the task root, readable by every user.
	Dir string
	// Command starts the runtime client or the binary, with absolute paths.
	Command []string
	// Runtime is what Lambda would call it: "provided.al2023", "nodejs22.x" or
	// "python3.13", with the version of the interpreter that was found.
	Runtime string
}

// UnavailableError says why an example cannot run on this machine. That is no
// failure of the example: say it was skipped, and why.
type UnavailableError struct {
	Name   string
	Reason string
}

func (e *UnavailableError) Error() string { return e.Name + ": " + e.Reason }

// BinaryDir is where make build puts the compiled examples: the folder
// examples next to the running binary.
func BinaryDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("where the compiled examples are: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "examples"), nil
}

// Assemble puts everything that e needs to run into the directory dst, which
// is created. Compiled examples come from bin, see [BinaryDir]. The error is an
// [UnavailableError] when the machine lacks what the example needs.
func (e Example) Assemble(ctx context.Context, dst, bin string) (Assembled, error) {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return Assembled{}, fmt.Errorf("assemble %s: %w", e.Name, err)
	}
	if e.Interpreter == "" {
		return e.assembleBinary(dst, bin)
	}
	interpreter, err := FindInterpreter(ctx, e.Interpreter)
	if err != nil {
		return Assembled{}, &UnavailableError{e.Name, err.Error()}
	}
	client, err := e.assembleSources(ctx, dst, interpreter)
	if err != nil {
		return Assembled{}, fmt.Errorf("assemble %s: %w", e.Name, err)
	}
	return Assembled{
		Dir:     dst,
		Command: []string{interpreter.Path, client},
		Runtime: interpreter.Runtime(),
	}, nil
}

func (e Example) assembleBinary(dst, bin string) (Assembled, error) {
	source := filepath.Join(bin, e.Name, "bootstrap")
	in, err := os.Open(source)
	if errors.Is(err, fs.ErrNotExist) {
		return Assembled{}, &UnavailableError{e.Name, source + " does not exist: run make build"}
	}
	if err != nil {
		return Assembled{}, fmt.Errorf("assemble %s: %w", e.Name, err)
	}
	defer in.Close()
	bootstrap := filepath.Join(dst, "bootstrap")
	if err := errors.Join(writeFile(bootstrap, in, 0o755), openToAll(dst)); err != nil {
		return Assembled{}, fmt.Errorf("assemble %s: %w", e.Name, err)
	}
	return Assembled{Dir: dst, Command: []string{bootstrap}, Runtime: "provided.al2023"}, nil
}

// assembleSources returns the path of the runtime client.
func (e Example) assembleSources(ctx context.Context, dst string, interpreter Interpreter) (string, error) {
	for _, name := range e.files {
		if err := extract(path.Join(e.Name, name), filepath.Join(dst, filepath.FromSlash(name))); err != nil {
			return "", err
		}
	}
	if e.build != "" {
		if err := runBuild(ctx, interpreter.Path, e.build, dst); err != nil {
			return "", err
		}
	}
	client, err := WriteRuntimeClient(e.Interpreter, filepath.Join(dst, "runtime"))
	if err != nil {
		return "", err
	}
	return client, openToAll(dst)
}

// runtimeClient is the embedded client for an interpreter.
func runtimeClient(interpreter string) string {
	if interpreter == "node" {
		return "runtime/node/bootstrap.cjs"
	}
	return "runtime/python/bootstrap.py"
}

// runBuild runs an example's own build step in its directory.
func runBuild(ctx context.Context, interpreter, script, dir string) error {
	cmd := exec.CommandContext(ctx, interpreter, script)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", script, err, output)
	}
	return nil
}

func extract(source, dst string) error {
	in, err := sources.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFile(dst, in, 0o644)
}

// writeFile makes a new file even where there is one, which may be running.
func writeFile(dst string, in io.Reader, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// openToAll lets every user read dir and what is in it, whatever the umask:
// functions run as another user than the one who assembled them.
func openToAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		readable := info.Mode().Perm() | 0o444
		if entry.IsDir() || readable&0o100 != 0 {
			readable |= 0o111
		}
		return os.Chmod(path, readable)
	})
}
