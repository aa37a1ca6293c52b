package node_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer/hooktest"
)

// cpuProfile is what node --cpu-prof writes.
type cpuProfile struct {
	Nodes []struct {
		ID        int
		CallFrame struct{ FunctionName, URL string }
		Children  []int
	}
	Samples    []int
	TimeDeltas []int64 // µs
}

// The profile agrees with an independent one: V8's sampler, in the same process.
//
// The sampler cannot tell the files that one file loads from one another: calls
// of one function from one place are one node. So the comparison is by who loads:
// all the time in loads that one file causes directly.
func TestAgreesWithSampler(t *testing.T) {
	const runs, significant, most = 3, 5000, 0.10
	for _, n := range nodes(t) {
		t.Run(n.name, func(t *testing.T) {
			var errors []float64
			for range runs {
				hook, sampler := profileBoth(t, n)
				for file, want := range sampler {
					if want >= significant || hook[file] >= significant {
						errors = append(errors, math.Abs(float64(hook[file]-want))/float64(max(want, 1)))
					}
				}
			}
			if len(errors) < runs*5 {
				t.Fatalf("only %d groups of loads above 5 ms in %d runs", len(errors), runs)
			}
			slices.Sort(errors)
			median := errors[len(errors)/2]
			t.Logf("%d groups of loads above 5 ms in %d runs: median error %.1f %%, 90 %% of them below %.1f %%", len(errors), runs, 100*median, 100*errors[len(errors)*9/10])
			if median > most {
				t.Errorf("median error %.1f %%", 100*median)
			}
		})
	}
}

// profileBoth returns, for each file, the µs in loads that it caused directly.
func profileBoth(t *testing.T, n node) (hook, sampler map[string]int64) {
	t.Helper()
	c := n.hooked(t, real(t))
	out := t.TempDir()
	c.Args = slices.Insert(c.Args, 1, "--cpu-prof", "--cpu-prof-interval=100", "--cpu-prof-dir="+out)
	f := hooktest.Start(t, c)
	f.Send(`{"exit": true}`)
	f.WaitExit()
	return loadsByHook(parse(t, f.Profile())), loadsBySampler(t, out)
}

func loadsByHook(p *hooktest.Profile) map[string]int64 {
	paths := map[int]string{}
	for _, r := range p.Records {
		paths[r.ID] = r.Path
	}
	loads := map[string]int64{}
	for _, r := range p.Records {
		if by := paths[r.Parent]; by != "" && r.Kind != "builtin" {
			loads[by] += r.End - r.Start
		}
	}
	return loads
}

func loadsBySampler(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.cpuprofile"))
	if err != nil || len(files) != 1 {
		t.Fatalf("profiles of the sampler: %v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var p cpuProfile
	if err := json.Unmarshal(content, &p); err != nil {
		t.Fatal(err)
	}
	return p.loads()
}

func (p *cpuProfile) loads() map[string]int64 {
	at := map[int]int{} // index of a node
	parent := map[int]int{}
	for i, node := range p.Nodes {
		at[node.ID] = i
		for _, child := range node.Children {
			parent[child] = node.ID
		}
	}
	frame := func(id int) (function, url string) {
		f := p.Nodes[at[id]].CallFrame
		return f.FunctionName, f.URL
	}
	loads := map[string]int64{}
	last := 0
	for i, id := range p.Samples {
		// While V8 collects garbage, or is between two states, it does not know
		// where it is: it is where it was.
		if name, _ := frame(id); name == "(garbage collector)" || name == "(program)" {
			id = last
		}
		last = id
		p.count(id, p.TimeDeltas[i], parent, frame, loads)
	}
	return loads
}

// count adds a sample to every file that has caused a load on its stack.
func (p *cpuProfile) count(id int, us int64, parent map[int]int, frame func(int) (string, string), loads map[string]int64) {
	seen := map[string]bool{}
	loading := false
	for ; id != 0; id = parent[id] {
		function, url := frame(id)
		switch {
		case strings.HasSuffix(url, "/hook.cjs"):
			loading = loading || function == "loadHook"
		case strings.HasPrefix(url, "node:") || url == "":
		default:
			file := strings.TrimPrefix(url, "file://")
			if loading && !seen[file] {
				seen[file] = true
				loads[file] += us
			}
			loading = false
		}
	}
}
