package evaluate

import (
	"cmp"
	"fmt"
	"slices"
)

// perfEntry is one configuration of lambda-perf: about ten cold starts of a
// function that does nothing.
type perfEntry struct {
	Package  string    `json:"p"`
	Runtime  string    `json:"d"`
	InitMS   []float64 `json:"i"`
	MemoryMB float64   `json:"m"`
	Arch     string    `json:"a"`
	// FirstMS is the mean duration of the first invocation, init not included.
	FirstMS float64 `json:"ad"`
}

// minFirstMS keeps first invocations out that are mostly overhead.
const minFirstMS = 20

// perfCurves makes a curve of the first invocations of each runtime, package
// and architecture. Those of a runtime are one group.
func perfCurves(entries []perfEntry) []Curve {
	byName := map[string]*Curve{}
	for _, e := range entries {
		name := fmt.Sprintf("%s, %s, %s", e.Runtime, e.Package, e.Arch)
		c := byName[name]
		if c == nil {
			c = &Curve{Name: name, Group: e.Runtime, Kind: "first invocation"}
			byName[name] = c
		}
		if e.FirstMS > 0 && e.MemoryMB > 0 && !slices.Contains(c.MemoryMB, e.MemoryMB) {
			c.MemoryMB, c.DurationMS = append(c.MemoryMB, e.MemoryMB), append(c.DurationMS, e.FirstMS)
		}
	}
	var out []Curve
	for _, c := range byName {
		if len(c.MemoryMB) > 0 && slices.Max(c.DurationMS) >= minFirstMS {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b Curve) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Ratio is how two configurations that differ in one thing compare, over all
// pairs of the file.
type Ratio struct {
	What   string  `json:"what"`
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
}

// perfKey is a configuration.
type perfKey struct {
	runtime, pkg, arch string
	memory             float64
}

// perfRatios compares, one thing at a time, what the file has in pairs.
func perfRatios(entries []perfEntry) []Ratio {
	inits, firsts := map[perfKey]float64{}, map[perfKey]float64{}
	for _, e := range entries {
		key := perfKey{e.Runtime, e.Package, e.Arch, e.MemoryMB}
		if len(e.InitMS) > 0 {
			inits[key] = quantile(e.InitMS, 0.5)
		}
		if e.FirstMS > 0 {
			firsts[key] = e.FirstMS
		}
	}
	large := func(k perfKey) (perfKey, bool) { other := k; other.memory = 1024; return other, k.memory == 128 }
	image := func(k perfKey) (perfKey, bool) { other := k; other.pkg = "image"; return other, k.pkg == "zip" }
	arm := func(k perfKey) (perfKey, bool) { other := k; other.arch = "arm64"; return other, k.arch == "x86_64" }
	slow := map[perfKey]float64{}
	for k, v := range firsts {
		if small := (perfKey{k.runtime, k.pkg, k.arch, 128}); firsts[small] >= minFirstMS {
			slow[k] = v
		}
	}
	var out []Ratio
	for _, c := range []struct {
		what   string
		values map[perfKey]float64
		other  func(perfKey) (perfKey, bool)
	}{
		{"init duration, 1024 MB against 128 MB", inits, large},
		{fmt.Sprintf("first invocation, 1024 MB against 128 MB, where that takes %d ms or more", minFirstMS), slow, large},
		{"init duration, image against zip", inits, image},
		{"init duration, arm64 against x86_64", inits, arm},
	} {
		if r, ok := ratio(c.what, c.values, c.other); ok {
			out = append(out, r)
		}
	}
	return out
}

func ratio(what string, values map[perfKey]float64, other func(perfKey) (perfKey, bool)) (Ratio, bool) {
	var all []float64
	for k, v := range values {
		pair, ok := other(k)
		if w := values[pair]; ok && w > 0 && v > 0 {
			all = append(all, w/v)
		}
	}
	if len(all) == 0 {
		return Ratio{}, false
	}
	return Ratio{what, len(all), quantile(all, 0.5), quantile(all, 0.1), quantile(all, 0.9)}, true
}
