package extension

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestComplaints: the README answers each of the 36, and every test that it
// names is there.
func TestComplaints(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declaredTests(t)
	n := 0
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 {
			if number, err := strconv.Atoi(strings.TrimSpace(cells[1])); err == nil {
				if n++; number != n {
					t.Errorf("complaint %d comes after %d", number, n-1)
				}
			}
		}
		for _, match := range regexp.MustCompile("`(?:((?:Test|Fuzz|Benchmark)[A-Z]\\w*)|([\\w-]+\\.txtar))`").FindAllStringSubmatch(line, -1) {
			if name := match[1]; name != "" && !declared[name] {
				t.Errorf("there is no %s: %s", name, line)
			}
			if script := match[2]; script != "" {
				if _, err := os.Stat("testdata/state/" + script); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if n != 36 {
		t.Errorf("%d complaints have an answer, there are 36", n)
	}
}

// declaredTests are the names of all tests of the repository.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("git", "grep", "-hoE", "--untracked", `^func (Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*`, "--", "..").Output()
	if err != nil {
		t.Fatalf("list the tests: %v", err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		names[strings.TrimPrefix(strings.TrimSpace(line), "func ")] = true
	}
	return names
}
