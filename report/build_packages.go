package report

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/evidence"
	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

const (
	// maxTraces bounds the traces that one report reads: those of the functions
	// whose cold starts took the most time come first.
	maxTraces = 200
	// maxShown is how many profiles of a function are in the report, and
	// maxModules how many modules of each.
	maxShown   = 4
	maxModules = 600
)

// packageID tells the packages of the metrics apart.
type packageID struct{ name, version, origin string }

// packages fills in what the metrics know of packages.
func packages(f *Function, g *group) {
	f.Packages = []PackageUse{}
	profiled := g.profiled.Sum
	for id, h := range g.packages {
		use := PackageUse{Name: id.name, Version: id.version, Origin: id.origin, InitMS: quantiles(h, 1)}
		if profiled > 0 {
			use.Share = rounded(min(1, h.Sum/profiled))
		}
		f.Packages = append(f.Packages, use)
	}
	slices.SortFunc(f.Packages, func(a, b PackageUse) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Origin, b.Origin))
	})
}

// profiles reads the cold starts that are kept of the functions of r.
func profiles(ctx context.Context, source Source, r *Report, names []string) error {
	for _, f := range r.Functions {
		f.Profiles, f.ProfileDiffs = []InitProfile{}, []ProfileDiff{}
	}
	keeper, ok := source.(evidenceSource)
	if !ok {
		return nil
	}
	kept, err := keeper.ColdStarts(ctx, names)
	if err != nil {
		return err
	}
	byFunction := map[functionID][]evidence.ColdStart{}
	for _, c := range kept {
		if c.Profiled && !c.Start.Before(r.Range.Start.Add(-time.Minute)) && !c.Start.After(r.Range.End) {
			id := functionID{c.Account, c.Region, c.Function}
			byFunction[id] = append(byFunction[id], c)
		}
	}
	functions := slices.Clone(r.Functions)
	slices.SortStableFunc(functions, func(a, b *Function) int { return cmp.Compare(initTime(b), initTime(a)) })
	left := maxTraces
	for _, f := range functions {
		list := byFunction[functionID{f.Account, f.Region, f.Name}]
		if len(list) > left {
			break
		}
		left -= len(list)
		if err := f.read(ctx, keeper, list); err != nil {
			return err
		}
	}
	return nil
}

func initTime(f *Function) float64 {
	if f.InitMS.Mean == nil {
		return 0
	}
	return *f.InitMS.Mean * float64(f.InitMS.Have)
}

// read reads the cold starts of one function, the newest first.
func (f *Function) read(ctx context.Context, keeper evidenceSource, list []evidence.ColdStart) error {
	for _, c := range list {
		td, err := keeper.Trace(ctx, c.ID)
		if errors.Is(err, errNoEvidence) {
			continue // it made room for another meanwhile
		}
		if err != nil {
			return err
		}
		if p := profileOf(td, c); p != nil {
			f.profiles = append(f.profiles, p)
		}
	}
	f.Profiles = shownProfiles(f.profiles)
	f.ProfileDiffs = diffProfiles(f.profiles)
	return nil
}

// profileOf reads the profile of a cold start, nil if its tree was not sent.
func profileOf(td ptrace.Traces, c evidence.ColdStart) *InitProfile {
	var out *InitProfile
	for _, rs := range td.ResourceSpans().All() {
		lifecycle.Decode(rs, func(o lifecycle.Observation) {
			if o.Init == nil || o.Init.Profile == nil || out != nil {
				return
			}
			p, err := initprofile.Unpack(o.Init.Profile.Tree)
			if err != nil {
				return
			}
			out = newProfile(p, o.Init, c)
		}, func(error) {})
	}
	return out
}

func newProfile(p *initprofile.Profile, in *lifecycle.Init, c evidence.ColdStart) *InitProfile {
	end := p.Ended()
	if in.Status != "" && in.Status != lifecycle.Success {
		end = max(end, in.Start.Add(in.Duration).Sub(p.Origin))
	}
	out := &InitProfile{
		ID: c.ID, Version: c.Version, MemoryMB: c.MemoryMB, Architecture: c.Architecture, Runtime: c.Runtime,
		Start: c.Start, InitMS: c.InitMS, Status: c.Status, Kept: []string{}, Inside: c.Inside,
		Hook: in.Profile.Hook, HookMS: milli(in.Profile.HookCost), Truncated: in.Profile.Truncated,
		Parts: []InitPart{}, Packages: []ProfiledPackage{}, Modules: []ProfiledModule{},
		tree: p.TreeUntil(end),
	}
	for _, part := range in.Parts {
		share := 0.0
		if in.Duration > 0 {
			share = rounded(float64(part.Duration) / float64(in.Duration))
		}
		out.Parts = append(out.Parts, InitPart{Part: string(part.Name), Basis: string(part.Basis), MeanMS: milli(part.Duration), Share: share, N: 1})
	}
	return out
}

func milli(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill describes packages and modules, which only profiles that are shown need.
func (p *InitProfile) fill() {
	simple := p.tree.Simplify(maxModules)
	shown := p.tree
	if simple != p.tree.Profile {
		shown = simple.TreeUntil(p.tree.Ended())
	}
	type key struct{ name, version, root string }
	keyOf := func(c *initprofile.Code) key { return key{c.Name, c.Version, c.Root} }
	index := map[key]int{}
	for _, u := range p.tree.Usages() {
		index[keyOf(u.Code)] = len(p.Packages)
		p.Packages = append(p.Packages, p.describe(u))
	}
	if _, ok := index[key{name: initprofile.OtherName}]; !ok {
		index[key{name: initprofile.OtherName}] = len(p.Packages)
		if shown != p.tree {
			p.Packages = append(p.Packages, ProfiledPackage{Name: lifecycle.PackageOther, ImportedBy: []string{}})
		}
	}
	at := map[*initprofile.Node]int{}
	shown.Walk(func(n *initprofile.Node) {
		m := ProfiledModule{Parent: -1, Name: shown.Label(n), SelfMS: milli(n.Self), TotalMS: milli(n.Total), Count: 1 + n.More, Open: n.Open}
		if n.Parent != nil {
			m.Parent = at[n.Parent]
		}
		m.Package = index[keyOf(n.Code)]
		at[n] = len(p.Modules)
		p.Modules = append(p.Modules, m)
	})
}

func (p *InitProfile) describe(u *initprofile.Usage) ProfiledPackage {
	out := ProfiledPackage{
		Name: u.Name, Version: u.Version, Origin: string(u.Origin),
		SelfMS: milli(u.Self), TotalMS: milli(u.Total), Modules: u.Modules, Bytes: u.Bytes, ImportedBy: []string{}, LateMS: milli(u.Late),
	}
	switch {
	case u.Own():
		out.Name = lifecycle.PackageOwn
	case out.Name == "":
		out.Name = lifecycle.PackageLayer
	}
	if u.Entry != nil {
		out.ImportedBy = append(out.ImportedBy, p.tree.Chain(u.Entry)...)
	}
	return out
}

// shownProfiles picks the newest of each version and the slowest of all.
func shownProfiles(all []*InitProfile) []InitProfile {
	if len(all) == 0 {
		return []InitProfile{}
	}
	versions := map[string]bool{}
	var picked []*InitProfile
	pick := func(p *InitProfile, why string) {
		p.Kept = append(p.Kept, why)
		if !slices.Contains(picked, p) {
			picked = append(picked, p)
		}
	}
	for _, p := range all { // the newest first
		if !versions[p.Version] && len(picked) < maxShown-1 {
			versions[p.Version] = true
			pick(p, "newest")
		}
	}
	pick(slices.MaxFunc(all, func(a, b *InitProfile) int { return cmp.Compare(a.InitMS, b.InitMS) }), "slowest")
	out := make([]InitProfile, 0, len(picked))
	for _, p := range picked {
		p.fill()
		out = append(out, *p)
	}
	return out
}

// diffProfiles compares the newest version with the one before it, at the
// memory size and architecture of the newest cold start.
func diffProfiles(all []*InitProfile) []ProfileDiff {
	if len(all) == 0 {
		return []ProfileDiff{}
	}
	newest := all[0]
	byVersion := map[string][]*InitProfile{}
	var order []string
	for _, p := range all {
		if p.MemoryMB != newest.MemoryMB || p.Architecture != newest.Architecture || p.Status != string(lifecycle.Success) {
			continue
		}
		if byVersion[p.Version] == nil {
			order = append(order, p.Version)
		}
		byVersion[p.Version] = append(byVersion[p.Version], p)
	}
	if len(order) < 2 {
		return []ProfileDiff{}
	}
	to, from := byVersion[order[0]], byVersion[order[1]]
	d := ProfileDiff{
		FromVersion: order[1], ToVersion: order[0], MemoryMB: newest.MemoryMB, Profiles: int64(len(from) + len(to)),
		FromMS: medianOf(from, func(p *InitProfile) float64 { return p.InitMS }),
		ToMS:   medianOf(to, func(p *InitProfile) float64 { return p.InitMS }),
	}
	d.Changes = packageChanges(from, to)
	return []ProfileDiff{d}
}

func packageChanges(from, to []*InitProfile) []PackageChange {
	type side struct {
		self     map[*InitProfile]time.Duration
		version  string
		importer []string
	}
	gather := func(list []*InitProfile) map[string]*side {
		out := map[string]*side{}
		for _, p := range list {
			for _, u := range p.tree.Usages() {
				described := p.describe(u)
				s := out[described.Name]
				if s == nil {
					s = &side{self: map[*InitProfile]time.Duration{}, version: u.Version, importer: described.ImportedBy}
					out[described.Name] = s
				}
				s.self[p] += u.Self
			}
		}
		return out
	}
	before, after := gather(from), gather(to)
	median := func(list []*InitProfile, s *side) float64 {
		if s == nil {
			return 0
		}
		return medianOf(list, func(p *InitProfile) float64 { return milli(s.self[p]) })
	}
	changes := []PackageChange{}
	names := map[string]bool{}
	for _, m := range []map[string]*side{before, after} {
		for name := range m {
			names[name] = true
		}
	}
	for name := range names {
		b, a := before[name], after[name]
		c := PackageChange{Name: name, FromMS: median(from, b), ToMS: median(to, a), ImportedBy: []string{}}
		c.DeltaMS = rounded(c.ToMS - c.FromMS)
		if b != nil {
			c.FromVersion = b.version
		}
		if a != nil {
			c.ToVersion, c.ImportedBy = a.version, a.importer
		}
		const worthSaying = 1
		if math.Abs(c.DeltaMS) >= worthSaying {
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(a, b PackageChange) int {
		return cmp.Or(cmp.Compare(math.Abs(b.DeltaMS), math.Abs(a.DeltaMS)), cmp.Compare(a.Name, b.Name))
	})
	return changes[:min(20, len(changes))]
}

func medianOf(list []*InitProfile, value func(*InitProfile) float64) float64 {
	values := make([]float64, 0, len(list))
	for _, p := range list {
		values = append(values, value(p))
	}
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return rounded((values[n/2-1] + values[n/2]) / 2)
}

// addPackage puts a value of the metric of packages into its group.
func addPackage(g *group, id packageID, s Sample) {
	if g.packages == nil {
		g.packages = map[packageID]stats.Histogram{}
	}
	g.packages[id] = plus(g.packages[id], s)
}
