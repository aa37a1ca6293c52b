// Package export writes an init profile for other tools: gzip'd pprof for go
// tool pprof, folded stacks for flame graph scripts, and speedscope's JSON. It
// is apart from package initprofile because the extension, which links that,
// may not carry a library for pprof.
package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// Part is time of the init that belongs to no module, such as the start of the
// runtime.
type Part struct {
	Name     string
	Duration time.Duration
}

// Profile is what is exported.
type Profile struct {
	// Title names the function and the cold start.
	Title string
	// Start is when the init began.
	Start time.Time
	Tree  *initprofile.Tree
	// Parts stand beside the modules, so that all adds up to the init.
	Parts []Part
}

// frame is one place in a stack.
type frame struct {
	label, code, file string
}

// stacks calls f for every stack that took time, the outermost frame first,
// with the CPU time if it is known.
func (p *Profile) stacks(f func(stack []frame, n *initprofile.Node, self time.Duration)) {
	for _, part := range p.Parts {
		if part.Duration > 0 {
			f([]frame{{label: "(" + part.Name + ")"}}, nil, part.Duration)
		}
	}
	if p.Tree == nil {
		return
	}
	var stack []frame
	var walk func([]*initprofile.Node)
	walk = func(nodes []*initprofile.Node) {
		for _, n := range nodes {
			stack = append(stack, frame{p.Tree.Label(n), n.Code.Label(), n.Path})
			f(stack, n, n.Self)
			walk(n.Children)
			stack = stack[:len(stack)-1]
		}
	}
	walk(p.Tree.Roots)
	for _, t := range p.Tree.Totals {
		f([]frame{{label: fmt.Sprintf("%s (%d modules, order not kept)", t.Name, t.Count), code: t.Name}}, nil, t.Self)
	}
}

// Pprof writes gzip'd pprof: wall time, modules and bytes of source for every
// module, with the package as a tag.
func (p *Profile) Pprof(w io.Writer) error {
	out := &profile.Profile{
		SampleType: []*profile.ValueType{
			{Type: "modules", Unit: "count"}, {Type: "source", Unit: "bytes"}, {Type: "wall", Unit: "nanoseconds"},
		},
		DefaultSampleType: "wall",
		TimeNanos:         p.Start.UnixNano(),
		Comments:          []string{p.Title},
	}
	locations := map[frame]*profile.Location{}
	locate := func(fr frame) *profile.Location {
		if l := locations[fr]; l != nil {
			return l
		}
		id := uint64(len(locations) + 1)
		fn := &profile.Function{ID: id, Name: fr.label, SystemName: fr.label, Filename: fr.file}
		l := &profile.Location{ID: id, Line: []profile.Line{{Function: fn, Line: 1}}}
		out.Function, out.Location = append(out.Function, fn), append(out.Location, l)
		locations[fr] = l
		return l
	}
	p.stacks(func(stack []frame, n *initprofile.Node, self time.Duration) {
		s := &profile.Sample{Value: []int64{0, 0, int64(self)}}
		for i := len(stack) - 1; i >= 0; i-- {
			s.Location = append(s.Location, locate(stack[i]))
		}
		if n != nil {
			s.Value[0], s.Value[1] = 1+int64(n.More), n.Bytes
		}
		if code := stack[len(stack)-1].code; code != "" {
			s.Label = map[string][]string{"package": {code}}
		}
		out.Sample = append(out.Sample, s)
		out.DurationNanos += int64(self)
	})
	if err := out.CheckValid(); err != nil {
		return fmt.Errorf("make a pprof profile: %w", err)
	}
	return out.Write(w)
}

// Folded writes one line a stack: frames with semicolons between, and
// microseconds.
func (p *Profile) Folded(w io.Writer) error {
	clean := strings.NewReplacer(";", ":", "\n", " ", "\r", " ", "\t", " ")
	b := bufio.NewWriter(w)
	p.stacks(func(stack []frame, _ *initprofile.Node, self time.Duration) {
		us := self.Microseconds()
		if us <= 0 {
			return
		}
		for i, fr := range stack {
			if i > 0 {
				b.WriteByte(';')
			}
			b.WriteString(clean.Replace(fr.label))
		}
		fmt.Fprintf(b, " %d\n", us)
	})
	return b.Flush()
}

// Speedscope writes a file for https://www.speedscope.app, which can also be
// opened without a network by its command line program.
func (p *Profile) Speedscope(w io.Writer) error {
	type jsonFrame struct {
		Name string `json:"name"`
		File string `json:"file,omitempty"`
	}
	var frames []jsonFrame
	index := map[frame]int{}
	samples, weights, total := [][]int{}, []int64{}, int64(0)
	p.stacks(func(stack []frame, _ *initprofile.Node, self time.Duration) {
		var sample []int
		for _, fr := range stack {
			i, ok := index[fr]
			if !ok {
				i = len(frames)
				index[fr] = i
				frames = append(frames, jsonFrame{fr.label, fr.file})
			}
			sample = append(sample, i)
		}
		us := self.Microseconds()
		samples, weights, total = append(samples, sample), append(weights, us), total+us
	})
	encoder := json.NewEncoder(w)
	return encoder.Encode(map[string]any{
		"$schema":  "https://www.speedscope.app/file-format-schema.json",
		"exporter": "thaw",
		"name":     p.Title,
		"shared":   map[string]any{"frames": frames},
		"profiles": []any{map[string]any{
			"type": "sampled", "name": p.Title, "unit": "microseconds",
			"startValue": 0, "endValue": total, "samples": samples, "weights": weights,
		}},
	})
}
