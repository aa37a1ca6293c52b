package repotest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/version"
)

const module = "github.com/thaw-lambda/thaw"

// root is the top of the repository, as seen from this package.
const root = "../.."

type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string
	GoFiles    []string
	Imports    []string
}

// packages asks the go command for every package of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		list = append(list, p)
	}
}

func TestEveryPackageExplainsItself(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 40 {
			t.Errorf("%s has no doc comment that says what it is for: %q", p.ImportPath, p.Doc)
		}
	}
}

// The parts meet in internal and in cmd, and nowhere else: that is what keeps
// each of them replaceable, and the extension small.
func TestArrows(t *testing.T) {
	parts := []string{"extension", "collector", "report", "emulator"}
	part := func(path string) string {
		rest, ok := strings.CutPrefix(path, module+"/")
		if !ok {
			return ""
		}
		for _, p := range parts {
			if rest == p || strings.HasPrefix(rest, p+"/") {
				return p
			}
		}
		return ""
	}
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			to := part(imported)
			switch {
			case to == "":
			case part(p.ImportPath) == to:
			case strings.HasPrefix(from, "cmd/"):
			default:
				t.Errorf("%s imports %s: only cmd brings the parts together", from, imported)
			}
			if strings.HasPrefix(imported, module+"/cmd/") && !strings.HasPrefix(from, "cmd/") {
				t.Errorf("%s imports %s: nothing else imports what belongs to a command", from, imported)
			}
		}
	}
}

func TestTargetsHaveHelp(t *testing.T) {
	text := read(t, "Makefile")
	targets := regexp.MustCompile(`(?m)^([a-z-]+):([^=\n]*)$`).FindAllStringSubmatch(text, -1)
	if len(targets) < 8 {
		t.Fatalf("found %d targets in the Makefile, expected at least 8", len(targets))
	}
	for _, target := range targets {
		if !strings.Contains(target[2], "## ") {
			t.Errorf("Makefile: %s has no ## help", target[1])
		}
	}
}

// The README's map names every folder at the top, and no other.
func TestReadmeMap(t *testing.T) {
	readme := read(t, "README.md")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignoredFolders(t)
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || strings.HasPrefix(name, ".") || ignored[name] {
			continue
		}
		if !regexp.MustCompile(`(?m)^\| .*` + "`" + name + `/[^|]*\|`).MatchString(readme) {
			t.Errorf("README.md's map has no line for %s/", name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| \\[?`([a-z-]+)/").FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("README.md's map names %s/, which is not there", m[1])
		}
	}
}

func ignoredFolders(t *testing.T) map[string]bool {
	ignored := map[string]bool{}
	for line := range strings.SplitSeq(read(t, ".gitignore"), "\n") {
		ignored[strings.Trim(line, "/")] = true
	}
	return ignored
}

func TestVersionIsInTheChangelog(t *testing.T) {
	heading := "## " + version.String()
	if !strings.Contains(read(t, "CHANGELOG.md"), heading) {
		t.Errorf("CHANGELOG.md has no %q", heading)
	}
}

// Unfinished work belongs in an issue.
func TestNothingIsLeftToDo(t *testing.T) {
	marker := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)
	cmd := exec.Command("git", "ls-files", "*.go", "*.js", "*.mjs", "*.py", "*.sh")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for file := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		scanner := bufio.NewScanner(strings.NewReader(read(t, file)))
		scanner.Buffer(nil, 8<<20)
		for n := 1; scanner.Scan(); n++ {
			if !strings.HasSuffix(file, ".min.js") && marker.MatchString(scanner.Text()) {
				t.Errorf("%s:%d: %s", file, n, strings.TrimSpace(scanner.Text()))
			}
		}
	}
}

// Links in the documents lead somewhere.
func TestLinks(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	for file := range strings.FieldsSeq(string(out)) {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
