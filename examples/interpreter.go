package examples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Interpreter is a program that runs scripts.
type Interpreter struct {
	// Name is "node" or "python3".
	Name string
	// Path is where it is, with symbolic links resolved.
	Path         string
	Major, Minor int
}

// Runtime is Lambda's identifier of this interpreter's version.
func (i Interpreter) Runtime() string {
	if i.Name == "node" {
		return fmt.Sprintf("nodejs%d.x", i.Major)
	}
	return fmt.Sprintf("python%d.%d", i.Major, i.Minor)
}

// FindInterpreter returns the first interpreter of that name in PATH,
// /usr/local/bin and /usr/bin that is recent enough and that an unprivileged
// user can execute, because functions run as one: what a version manager keeps
// in root's home will not do. The error says what was wrong with each that was
// found.
func FindInterpreter(ctx context.Context, name string) (Interpreter, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/bin", "/usr/bin")
	return findInterpreter(ctx, name, dirs)
}

func findInterpreter(ctx context.Context, name string, dirs []string) (Interpreter, error) {
	var refused []error
	var seen []string
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if !filepath.IsAbs(file) || slices.Contains(seen, file) {
			continue // a relative entry of PATH would mean another file in another directory
		}
		seen = append(seen, file)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		found, err := inspect(ctx, name, file)
		if err == nil {
			return found, nil
		}
		refused = append(refused, fmt.Errorf("%s %w", file, err))
	}
	if len(refused) == 0 {
		return Interpreter{}, fmt.Errorf("no %s in PATH, /usr/local/bin or /usr/bin", name)
	}
	return Interpreter{}, fmt.Errorf("no usable %s: %w", name, errors.Join(refused...))
}

// inspect finds out whether file can be used. Errors continue its name.
func inspect(ctx context.Context, name, file string) (Interpreter, error) {
	resolved, err := filepath.EvalSymlinks(file)
	if err != nil {
		return Interpreter{}, fmt.Errorf("cannot be resolved: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := othersCanExecute(resolved); err != nil {
			return Interpreter{}, err
		}
	}
	major, minor, err := version(ctx, resolved)
	if err != nil {
		return Interpreter{}, err
	}
	if want := oldest(name); major < want[0] || major == want[0] && minor < want[1] {
		return Interpreter{}, fmt.Errorf("is version %d.%d, older than %d.%d", major, minor, want[0], want[1])
	}
	return Interpreter{Name: name, Path: resolved, Major: major, Minor: minor}, nil
}

// oldest is the first version that the examples run on.
func oldest(name string) [2]int {
	if name == "node" {
		return [2]int{18, 0}
	}
	return [2]int{3, 9}
}

// othersCanExecute reports what keeps users who are neither owner nor group
// from executing file. Root is never kept from anything, so trying it out as
// root says nothing.
func othersCanExecute(file string) error {
	for path := file; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("cannot be inspected: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("cannot be executed by other users: %s has mode %#o", path, info.Mode().Perm())
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

var versionNumber = regexp.MustCompile(`(\d+)\.(\d+)`)

// version asks the interpreter, as an unprivileged user where that is possible:
// a wrapper script may lead to a program that only root can reach.
func version(ctx context.Context, file string) (major, minor int, err error) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, "--version")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.SysProcAttr = asNobody()
	output, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("--version: %w: %s", err, strings.TrimSpace(string(output)))
	}
	match := versionNumber.FindStringSubmatch(string(output))
	if match == nil {
		return 0, 0, fmt.Errorf("--version printed %q", output)
	}
	major, majorErr := strconv.Atoi(match[1])
	minor, minorErr := strconv.Atoi(match[2])
	return major, minor, errors.Join(majorErr, minorErr)
}
