package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
	"github.com/thaw-lambda/thaw/report/stats"
)

// runtimeRules are about what a runtime or an architecture can do.
func runtimeRules() []Rule {
	return []Rule{
		{ID: "snapstart-on", Title: "SnapStart would replace the init by a restore", find: snapStartRule,
			When:   "Java 11, Python 3.12 or .NET 8 and newer, the median init is above 1 s, 30 cold starts or more.",
			Guard:  "Not with a container image, a file system, more than 512 MB of /tmp, or provisioned concurrency, as far as the account's data says so.",
			Source: "AWS, Lambda SnapStart: runtimes and limitations. It saves time, never money outside Java: one restore per GB costs as much as 8.4 s of duration on x86_64."},
		{ID: "snapstart-slow", Title: "Restores are slow", find: snapStartSlowRule,
			When:   "SnapStart is on, 30 restores or more take more than 500 ms in the mean.",
			Source: "AWS, Lambda SnapStart best practices: restore hooks run before the first request, and are billed."},
		{ID: "java-tiered", Title: "The JVM compiles too much in the first request", find: javaTieredRule,
			When:   "Java, the first-invoke penalty is above 500 ms at the median of 30 first invocations or more.",
			Guard:  "A larger memory size comes first where it is cheaper or free: the penalty scales with the CPU.",
			Source: "AWS Compute Blog: TieredStopAtLevel=1 took a cold p90 from 5,212 to 2,071 ms (754 and 383 cold starts)."},
		{ID: "dotnet-ready-to-run", Title: ".NET compiles in the first request", find: dotnetReadyToRunRule,
			When:   ".NET, the first-invoke penalty is above 300 ms at the median of 30 first invocations or more.",
			Guard:  "As for java-tiered.",
			Source: "620 hello-world configurations: dotnet8's first invocation takes 715 ms at 128 MB and 75 ms at 1,024 MB; ReadyToRun removes part of it at any size."},
		{ID: "arm64", Title: "arm64 is a fifth cheaper per second", find: arm64Rule,
			When:   "The function runs on x86_64 only, and a fifth of its duration cost is above $1 a month. Predicted: it saves as long as arm64 is less than 1.25 times slower.",
			Guard:  "Native code and layers have to exist for arm64: the layers are listed where the account's data has them.",
			Source: "AWS's price list: duration on arm64 is 20 % cheaper in every listed region. Measured slow-downs go either way: numpy 36 to 99 % faster on x86_64 at 512 MB and below, SHA-256 in Rust 4 to 5 times faster on arm64."},
	}
}

// runtimeOf returns the family and the version of the runtime: java and 21. The
// account's data has them as java21, the platform as java:21.v38.
func (f *Function) runtimeOf() (family string, version float64) {
	name := ""
	switch {
	case f.AWS != nil && f.AWS.Runtime != "":
		name = f.AWS.Runtime
	case len(f.Runtimes) > 0:
		name, _, _ = strings.Cut(f.Runtimes[len(f.Runtimes)-1], ".v")
	}
	name = strings.NewReplacer(":", "", ".x", "", ".al2", "").Replace(name)
	i := strings.IndexAny(name, "0123456789")
	if i < 0 {
		return name, 0
	}
	version, err := strconv.ParseFloat(name[i:], 64)
	if err != nil {
		return name[:i], 0
	}
	// python3.9 is older than python3.12.
	if major, minor, ok := strings.Cut(name[i:], "."); ok {
		a, _ := strconv.ParseFloat(major, 64) // it parsed with its fraction
		b, _ := strconv.ParseFloat(minor, 64)
		version = a + b/100
	}
	return name[:i], version
}

// snapStartable says whether the runtime can be restored from a snapshot.
func (f *Function) snapStartable() bool {
	family, version := f.runtimeOf()
	least := map[string]float64{"java": 11, "python": 3.12, "dotnet": 8}
	from, ok := least[family]
	return ok && version >= from
}

func (f *Function) hasKind(kind lifecycle.InitKind) bool {
	return slices.Contains(f.Kinds, string(kind))
}

func snapStartRule(f *Function, _ *curveView) *Finding {
	if !f.snapStartable() || f.hasKind(lifecycle.SnapStart) || f.ColdStarts < stats.FloorMean || f.InitMS.P50 == nil || *f.InitMS.P50 <= 1000 {
		return nil
	}
	if a := f.AWS; a != nil && (a.PackageType == "Image" || a.FileSystem || a.EphemeralStorageMB > 512 || len(a.Provisioned) > 0) {
		return nil
	}
	family, _ := f.runtimeOf()
	finding := &Finding{
		Severity: severityChange, Basis: string(lifecycle.Predicted), N: f.InitMS.Have, weight: coldShare(f),
		Claim: fmt.Sprintf("The median init takes %s (n = %s). With SnapStart a restore takes its place, which does not run the function's own start again.",
			ms(*f.InitMS.P50), thousands(f.InitMS.Have)),
		Effect:   Effect{Unit: unitMS, Value: nil, Low: figure(0), High: f.InitMS.P50},
		Evidence: []string{"How long a restore takes depends on the memory that is read in it, and is not known before it is tried: from nothing to the whole init may be saved."},
		Change:   "Turn SnapStart on for published versions, and invoke by a version or an alias. Open connections and draw random numbers after the restore.",
		Patches:  snapStartPatches(f),
		Verify:   "Compare the versions: thaw compare --versions OLD,NEW. The restore part is shorter than the init was.",
		Undo:     "Set SnapStart to None and publish a version.",
	}
	if f.AWS == nil {
		finding.Evidence = append(finding.Evidence, "Not checked without the account's data: it excludes container images, file systems, /tmp above 512 MB and provisioned concurrency.")
	}
	if family != "java" {
		finding.Evidence = append(finding.Evidence, "It costs money: a cache for each published version, and each restore. It is not a saving.")
	}
	return finding
}

// slowRestoreMS is the mean restore from which something can be gained.
const slowRestoreMS = 500

func snapStartSlowRule(f *Function, _ *curveView) *Finding {
	if !f.hasKind(lifecycle.SnapStart) {
		return nil
	}
	for _, p := range f.InitParts {
		if lifecycle.PartName(p.Part) != lifecycle.PartRestore || p.N < stats.FloorMean || p.MeanMS <= slowRestoreMS {
			continue
		}
		return &Finding{
			Severity: severityChange, Basis: p.Basis, N: p.N, weight: coldShare(f),
			Claim:  fmt.Sprintf("A restore takes %s in the mean (n = %s).", ms(p.MeanMS), thousands(p.N)),
			Effect: Effect{Unit: unitMS, Value: figure(p.MeanMS)},
			Change: "Do less in after-restore hooks, keep network calls out of them, and touch before the snapshot what the first request needs (invoke the handler once in a before-snapshot hook).",
			Verify: "The restore part is shorter in the next report.", Undo: "Deploy the previous version.",
		}
	}
	return nil
}

// firstPenalty returns the first-invoke penalty of a function whose runtime is
// of the family, and whether it is above a threshold on enough values.
func (f *Function) firstPenalty(family string, above float64) bool {
	got, _ := f.runtimeOf()
	p := f.FirstInvokePenalty
	return got == family && p.P50 != nil && p.Have >= stats.FloorMean && *p.P50 > above
}

func javaTieredRule(f *Function, _ *curveView) *Finding {
	if !f.firstPenalty("java", 500) {
		return nil
	}
	p := f.FirstInvokePenalty
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: p.Have, weight: coldShare(f),
		Claim:  fmt.Sprintf("The first request of an environment takes %s longer than a warm one (median, n = %s): the JVM interprets and compiles.", ms(*p.P50), thousands(p.Have)),
		Effect: Effect{Unit: unitMS, Value: p.P50},
		Evidence: []string{"Unless it is set already: JAVA_TOOL_OPTIONS is not known here.",
			"The optimizing compiler is then off: a function that computes for long may get slower warm. Compare both."},
		Change:  "Stop at the first tier of the compiler: JAVA_TOOL_OPTIONS=-XX:+TieredCompilation -XX:TieredStopAtLevel=1. Then try AppCDS or SnapStart.",
		Patches: environmentPatches(f, "JAVA_TOOL_OPTIONS", "-XX:+TieredCompilation -XX:TieredStopAtLevel=1"),
		Verify:  "thaw compare --versions OLD,NEW: the first-invoke penalty falls, and warm p95 does not rise.",
		Undo:    "Remove the variable.",
	}
}

func dotnetReadyToRunRule(f *Function, _ *curveView) *Finding {
	if !f.firstPenalty("dotnet", 300) {
		return nil
	}
	p := f.FirstInvokePenalty
	return &Finding{
		Severity: severityChange, Basis: string(lifecycle.Measured), N: p.Have, weight: coldShare(f),
		Claim:    fmt.Sprintf("The first request of an environment takes %s longer than a warm one (median, n = %s): .NET compiles in it.", ms(*p.P50), thousands(p.Have)),
		Effect:   Effect{Unit: unitMS, Value: p.P50},
		Evidence: []string{"Unless the package is built with it already: that is not known here."},
		Change:   "Publish with <PublishReadyToRun>true</PublishReadyToRun> for the function's architecture; Native AOT where the dependencies permit.",
		Verify:   "thaw compare --versions OLD,NEW: the first-invoke penalty falls.",
		Undo:     "Deploy the previous version.",
	}
}

// armSlowdown is how much slower arm64 may be before it costs more: its price
// is 0.8 of that of x86_64.
const armSlowdown = 1.25

func arm64Rule(f *Function, v *curveView) *Finding {
	if !slices.Equal(f.Architectures, []string{"amd64"}) || f.CostPerMillionUSD.Value == nil || f.Invocations < stats.FloorCompare || !v.enforced {
		return nil
	}
	var perMillion float64
	for i := range f.MemoryCurve {
		p := &f.MemoryCurve[i]
		if p.Basis != string(lifecycle.Measured) || p.clusters.price == nil || p.CostPerMillionUSD == nil {
			continue
		}
		perMillion += (*p.CostPerMillionUSD - 1e6*p.clusters.price.PerRequest) * float64(p.Invocations) / float64(f.Invocations)
	}
	saved := 0.2 * perMillion
	if f.monthly(saved) < minMonthlyUSD {
		return nil
	}
	finding := &Finding{
		Severity: severityInfo, Basis: string(lifecycle.Predicted), N: f.Invocations, weight: saved / *f.CostPerMillionUSD.Value,
		Claim: fmt.Sprintf("It runs on x86_64 only. On arm64 the same duration costs 20 %% less; it saves as long as arm64 is less than %.2f times slower.", armSlowdown),
		// Twice as slow costs 60 % more, half as slow saves 60 %: nobody knows
		// before it was tried, so there is no interval.
		Effect:   Effect{Unit: unitPerMillion, Value: figure(saved)},
		Evidence: []string{"If it is as fast there. Whether it is depends on the code: published comparisons go either way."},
		Change:   "Build for arm64, publish a version, and send it 5 to 10 % of the traffic by a weighted alias.",
		Patches:  arm64Patches(f),
		Verify:   "thaw compare --architectures x86_64,arm64: the cost of a million invocations is surely lower.",
		Undo:     "Point the alias back at the x86_64 version.",
	}
	if f.AWS != nil && len(f.AWS.Layers) > 0 {
		for _, l := range f.AWS.Layers {
			finding.Evidence = append(finding.Evidence, "Check that this layer is there for arm64: "+l.ARN)
		}
	}
	return finding
}
