package lifecycle

import (
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func someProfile() *InitProfile {
	s3 := PackageTime{Name: "@aws-sdk/client-s3", Version: "3.600.0", Origin: "function", Self: 590 * msec, Modules: 121}
	core := PackageTime{Name: "@smithy/core", Origin: "layer", Self: 22 * msec, Modules: 3}
	own := PackageTime{Name: PackageOwn, Origin: "function", Self: 626 * msec, Modules: 2}
	rest := PackageTime{Name: PackageOther, Self: 88 * msec, Modules: 41}
	return &InitProfile{
		Hook: "node/1", HookCost: 2 * msec, Truncated: true, Late: 7 * msec, Tree: []byte{0x1f, 0x8b, 1},
		Packages: []PackageTime{own, s3, core, rest},
		Spans: []PackageSpan{
			{PackageTime: s3, Parent: -1, Start: at(120), Total: 612 * msec, ImportedBy: "src/index.js"},
			{PackageTime: core, Parent: 0, Start: at(130), Total: 22 * msec, ImportedBy: "src/index.js > @aws-sdk/client-s3/index.js"},
			{PackageTime: own, Parent: -1, Start: at(116), Total: 626 * msec},
			{PackageTime: rest, Parent: -1, Start: at(116), Total: 88 * msec},
		},
	}
}

func TestProfileRoundTrip(t *testing.T) {
	obs := decodeAll(t, encode(t, cases()["init-with-hook"]))
	if len(obs) != 1 {
		t.Fatalf("%d observations, want the init's alone", len(obs))
	}
	want := someProfile()
	want.Spans = nil
	equal(t, "profile", obs[0].Init.Profile, want)
	if in := decodeAll(t, encode(t, cases()["unused"]))[0].Init; in.Profile != nil {
		t.Errorf("a profile of nothing: %+v", in.Profile)
	}
}

func TestProfileRefuses(t *testing.T) {
	for name, spoil := range map[string]func(pcommon.Map){
		"other lengths": func(m pcommon.Map) { m.PutEmptySlice(AttrPackageSelf).AppendEmpty().SetDouble(1) },
		"negative time": func(m pcommon.Map) { v, _ := m.Get(AttrPackageSelf); v.Slice().At(0).SetDouble(-1) },
		"too many": func(m pcommon.Map) {
			for _, key := range []string{AttrPackages, AttrPackageVersions, AttrPackageOrigins, AttrPackageSelf, AttrPackageModules} {
				v, _ := m.Get(key)
				for range maxPackages {
					v.Slice().AppendEmpty()
				}
			}
		},
	} {
		rs := encode(t, cases()["init-with-hook"])
		spoil(rs.ScopeSpans().At(0).Spans().At(0).Attributes())
		var errs []string
		Decode(rs, func(o Observation) { t.Errorf("%s: accepted %+v", name, o.Init.Profile) }, func(err error) { errs = append(errs, err.Error()) })
		if len(errs) != 1 || !strings.Contains(errs[0], "package") {
			t.Errorf("%s: %q", name, errs)
		}
	}
}

// The packages hang below the part that is the function's.
func TestPackagesAreBelowTheFunction(t *testing.T) {
	spans := encode(t, cases()["init-with-hook"]).ScopeSpans().At(0).Spans()
	byID := map[pcommon.SpanID]ptrace.Span{}
	for _, s := range spans.All() {
		byID[s.SpanID()] = s
	}
	want := map[string]string{
		"@aws-sdk/client-s3 3.600.0": "function", "@smithy/core": "@aws-sdk/client-s3 3.600.0",
		"the function's own code": "function", "other (41 modules)": "function",
	}
	for _, s := range spans.All() {
		if parent, ok := want[s.Name()]; ok {
			if got := byID[s.ParentSpanID()].Name(); got != parent {
				t.Errorf("%s is below %q, want %q", s.Name(), got, parent)
			}
			delete(want, s.Name())
		}
	}
	if len(want) > 0 {
		t.Errorf("no span for %v", want)
	}
}
