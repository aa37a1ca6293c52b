package emulator

import (
	"slices"
	"strings"
	"testing"
)

func TestRuntimeFlags(t *testing.T) {
	f := func(runtime string, memoryMB int, command, want string) {
		t.Helper()
		if got := withRuntimeFlags(strings.Fields(command), runtime, memoryMB); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s at %d MB: %q becomes %q", runtime, memoryMB, command, got)
		}
	}
	f("nodejs22.x", 512, "/usr/bin/node /var/task/index.cjs", "/usr/bin/node --max-old-space-size=460 --max-semi-space-size=25 /var/task/index.cjs")
	f("nodejs22.x", 128, "node x", "node --max-old-space-size=115 --max-semi-space-size=6 x")
	f("nodejs22.x", 512, "node --max-old-space-size=200 x", "node --max-semi-space-size=25 --max-old-space-size=200 x")
	f("nodejs22.x", 512, "/var/task/bootstrap x", "/var/task/bootstrap x")
	f("python3.13", 512, "/usr/bin/python3 app.py", "/usr/bin/python3 app.py")
	f("", 512, "node x", "node x")
	f("nodejs22.x", 512, "", "")
}
