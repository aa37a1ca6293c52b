package lifecycle

import (
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Attributes of the init profile. Those of packages are lists of one length:
// the n-th entries belong together.
const (
	AttrProfileHook      = "thaw.init.profile.hook"
	AttrProfileHookCost  = "thaw.init.profile.hook_ms"
	AttrProfileTruncated = "thaw.init.profile.truncated"
	AttrProfileInside    = "thaw.init.profile.inside"
	AttrProfileLate      = "thaw.init.profile.late_ms"
	AttrProfileTree      = "thaw.init.profile.tree"

	AttrPackages        = "thaw.init.package.name"
	AttrPackageVersions = "thaw.init.package.version"
	AttrPackageOrigins  = "thaw.init.package.origin"
	AttrPackageSelf     = "thaw.init.package.self_ms"
	AttrPackageModules  = "thaw.init.package.modules"

	AttrPackage           = "thaw.package.name"
	AttrPackageVersion    = "thaw.package.version"
	AttrPackageOrigin     = "thaw.package.origin"
	AttrPackageSelfTime   = "thaw.package.self_ms"
	AttrPackageCount      = "thaw.package.modules"
	AttrPackageImportedBy = "thaw.package.imported_by"
)

// Names that no package can have.
const (
	// PackageOwn is the function's own code, PackageLayer that of layers, where
	// it belongs to no package.
	PackageOwn   = "(own code)"
	PackageLayer = "(layer code)"
	// PackageOther is everything that is not listed by name.
	PackageOther = "(other)"
)

// InitProfile is what a hook in the runtime told of an init.
type InitProfile struct {
	// Hook is its name and version, HookCost what it took of the init by its
	// own accounting.
	Hook     string
	HookCost time.Duration
	// Truncated says that modules were left out, of the tree or already by the
	// hook.
	Truncated bool
	// Inside says what an init that failed was loading, the outermost first.
	Inside string
	// Late is the time of modules that the first invocation loaded.
	Late time.Duration
	// Packages are those that took the most, the largest first, the rest as
	// PackageOther.
	Packages []PackageTime
	// Spans repeat it for the eye. Decoding does not restore them.
	Spans []PackageSpan
	// Tree is every module: a gzip'd file of the hook's format, see package
	// initprofile. Empty where it is turned off or was too large.
	Tree []byte
}

// PackageTime is what a package took of an init, without the packages that it
// loads itself.
type PackageTime struct {
	Name, Version string
	// Origin is function, layer, runtime or built-in.
	Origin  string
	Self    time.Duration
	Modules int64
}

// PackageSpan is a package in the tree of who loads whom.
type PackageSpan struct {
	PackageTime
	// Parent is the index of the package that loads it, -1 for the function.
	Parent     int
	Start      time.Time
	Total      time.Duration
	ImportedBy string
}

// profileAttributes documents the attributes above.
func profileAttributes() []Attribute {
	return []Attribute{
		{AttrProfileHook, "init", "string", "", "name and version of the hook in the runtime that profiled the init"},
		{AttrProfileHookCost, "init", "double", "ms", "what the hook took of the init, by its own accounting"},
		{AttrProfileTruncated, "init", "bool", "", "true: modules were left out of the profile, it was too large"},
		{AttrProfileInside, "init", "string", "", "what an init that did not succeed was loading: importers before what they import"},
		{AttrProfileLate, "init", "double", "ms", "time of the modules that the first invocation loaded; not part of the init"},
		{AttrPackages, "init", "string[]", "", "packages that the init loaded, the largest self time first, then " + PackageOther},
		{AttrPackageVersions, "init", "string[]", "", "their versions, empty where unknown"},
		{AttrPackageOrigins, "init", "string[]", "", "where they come from: function, layer, runtime or built-in"},
		{AttrPackageSelf, "init", "double[]", "ms", "their self times: loading them, without the packages that they load"},
		{AttrPackageModules, "init", "int[]", "{module}", "modules loaded of them"},
		{AttrProfileTree, "init", "bytes", "By", "the whole profile: gzip of the format of layer/HOOKS.md"},
		{AttrPackage, "part", "string", "", "a package; the span lasts as long as it and what it loads take"},
		{AttrPackageVersion, "part", "string", "", "its version"},
		{AttrPackageOrigin, "part", "string", "", "where it comes from"},
		{AttrPackageSelfTime, "part", "double", "ms", "its self time"},
		{AttrPackageCount, "part", "int", "{module}", "modules loaded of it"},
		{AttrPackageImportedBy, "part", "string", "", "who imports it, the outermost first"},
	}
}

// put writes the profile on the span of the init.
func (p *InitProfile) put(m pcommon.Map) {
	if p == nil {
		return
	}
	m.PutStr(AttrProfileHook, p.Hook)
	m.PutDouble(AttrProfileHookCost, ms(p.HookCost))
	if p.Truncated {
		m.PutBool(AttrProfileTruncated, true)
	}
	putStr(m, AttrProfileInside, p.Inside)
	if p.Late > 0 {
		m.PutDouble(AttrProfileLate, ms(p.Late))
	}
	if len(p.Packages) > 0 {
		names, versions, origins := m.PutEmptySlice(AttrPackages), m.PutEmptySlice(AttrPackageVersions), m.PutEmptySlice(AttrPackageOrigins)
		self, modules := m.PutEmptySlice(AttrPackageSelf), m.PutEmptySlice(AttrPackageModules)
		for _, pkg := range p.Packages {
			names.AppendEmpty().SetStr(pkg.Name)
			versions.AppendEmpty().SetStr(pkg.Version)
			origins.AppendEmpty().SetStr(pkg.Origin)
			self.AppendEmpty().SetDouble(ms(pkg.Self))
			modules.AppendEmpty().SetInt(pkg.Modules)
		}
	}
	if len(p.Tree) > 0 {
		m.PutEmptyBytes(AttrProfileTree).FromRaw(p.Tree)
	}
}

// spans appends the packages as children of parent.
func (p *InitProfile) spans(dst ptrace.SpanSlice, trace pcommon.TraceID, parent pcommon.SpanID, id Identity) {
	if p == nil {
		return
	}
	ids := make([]pcommon.SpanID, len(p.Spans))
	for i, s := range p.Spans {
		ids[i] = id.SpanID("package " + strconv.Itoa(i))
		above := parent
		if s.Parent >= 0 && s.Parent < i {
			above = ids[s.Parent]
		}
		span := appendChild(dst, trace, above, ids[i], s.title(), s.Start, s.Start.Add(s.Total))
		part(span, Part{Basis: Measured})
		m := span.Attributes()
		m.PutStr(AttrPackage, s.Name)
		putStr(m, AttrPackageVersion, s.Version)
		putStr(m, AttrPackageOrigin, s.Origin)
		m.PutDouble(AttrPackageSelfTime, ms(s.Self))
		m.PutInt(AttrPackageCount, s.Modules)
		putStr(m, AttrPackageImportedBy, s.ImportedBy)
	}
}

// title is the name of the span, as people read it.
func (s *PackageSpan) title() string {
	switch {
	case s.Name == PackageOwn:
		return "the function's own code"
	case s.Name == PackageOther:
		return "other (" + strconv.FormatInt(s.Modules, 10) + " modules)"
	case s.Version != "":
		return s.Name + " " + s.Version
	}
	return s.Name
}

// maxPackages bounds what a stranger can make us allocate.
const maxPackages = 256

func (d *decoder) profile() *InitProfile {
	if !d.has(AttrProfileHook) {
		return nil
	}
	p := &InitProfile{
		Hook:     d.str(AttrProfileHook),
		HookCost: d.ms(AttrProfileHookCost),
		Inside:   d.str(AttrProfileInside),
		Late:     d.ms(AttrProfileLate),
	}
	if v, ok := d.m.Get(AttrProfileTruncated); ok && v.Type() == pcommon.ValueTypeBool {
		p.Truncated = v.Bool()
	}
	if v, ok := d.m.Get(AttrProfileTree); ok && v.Type() == pcommon.ValueTypeBytes {
		p.Tree = v.Bytes().AsRaw()
	}
	names := d.list(AttrPackages)
	lists := map[string]pcommon.Slice{}
	for _, key := range []string{AttrPackageVersions, AttrPackageOrigins, AttrPackageSelf, AttrPackageModules} {
		lists[key] = d.list(key)
		if lists[key].Len() != names.Len() {
			d.fail("%s has %d entries for %d packages", key, lists[key].Len(), names.Len())
			return p
		}
	}
	if names.Len() > maxPackages {
		d.fail("%s has %d entries, more than %d", AttrPackages, names.Len(), maxPackages)
		return p
	}
	for i := range names.Len() {
		self := lists[AttrPackageSelf].At(i).Double()
		modules := lists[AttrPackageModules].At(i).Int()
		// NaN is not at least 0 either.
		if !(self >= 0 && self <= maxMS) || modules < 0 {
			d.fail("package %d: %v ms, %d modules: out of range", i, self, modules)
			return p
		}
		p.Packages = append(p.Packages, PackageTime{
			Name: names.At(i).Str(), Version: lists[AttrPackageVersions].At(i).Str(), Origin: lists[AttrPackageOrigins].At(i).Str(),
			Self: fromMS(self), Modules: modules,
		})
	}
	return p
}

// list returns a list, an empty one if there is none.
func (d *decoder) list(key string) pcommon.Slice {
	if v, ok := d.m.Get(key); ok && v.Type() == pcommon.ValueTypeSlice {
		return v.Slice()
	}
	return pcommon.NewSlice()
}
