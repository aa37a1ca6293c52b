package report

import (
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/internal/pricing"
)

// typical is a function of which enough is known and nothing is wrong.
func typical() *Function {
	price := &pricing.Price{PerGBSecond: 0.0000166667, PerRequest: 0.20e-6, Region: "us-east-1"}
	point := CurvePoint{
		MemoryMB: 512, Architecture: "amd64", Invocations: 1_000_000, ColdStarts: 5000, Basis: "measured", CPUEnforced: true,
		CostPerMillionUSD: figure(1.03), BilledMS: Estimate{Value: figure(100)},
		MemoryUsed: MemoryUsed{P99: figure(200), Max: figure(220), Have: 1_000_000},
		clusters:   curveClusters{price: price},
	}
	return &Function{
		Name: "f", Account: "123456789012", Region: "us-east-1", Runtimes: []string{"nodejs:22.v38"}, Architectures: []string{"amd64"},
		Kinds: []string{"on-demand"}, Invocations: 1_000_000, ColdStarts: 5000, months: 0.05,
		ColdStartRate: rate(5000, 1_000_000), ErrorRate: rate(0, 1_000_000), TimeoutRate: rate(0, 1_000_000),
		InitMS:             Quantiles{Mean: figure(300), P50: figure(290), P95: figure(500), Have: 5000},
		DurationMS:         StartDurations{All: Quantiles{Mean: figure(98), P95: figure(150), Have: 1_000_000}, Warm: Quantiles{P50: figure(95), Have: 995_000}},
		FirstInvokePenalty: Penalty{Mean: figure(20), P50: figure(20), Have: 5000},
		MemoryCurve:        []CurvePoint{point}, CostPerMillionUSD: Estimate{Value: figure(1.03)},
		AWS: &account.Function{
			Name: "f", Runtime: "nodejs22.x", Architecture: "x86_64", PackageType: "Zip", TimeoutSeconds: 3, EphemeralStorageMB: 512,
			Metrics: &account.Metrics{Invocations: figure(1_000_000), ConcurrentExecutionsMax: figure(12)},
		},
	}
}

// Every rule fires on the fault and not on the twin without it.
func TestRulesFireOnTheFaultAndNotOnItsTwin(t *testing.T) {
	f := func(id string, fault, twin func(*Function)) {
		t.Helper()
		fires := func(change func(*Function)) *Finding {
			f := typical()
			if change != nil {
				change(f)
			}
			for _, finding := range findings(f) {
				if finding.ID == id {
					return &finding
				}
			}
			return nil
		}
		found := fires(fault)
		if found == nil {
			t.Errorf("%s does not fire", id)
			return
		}
		if found.Claim == "" || found.Change == "" || found.Verify == "" || found.Undo == "" || found.N == 0 ||
			found.MonthlyUSD.Value == nil && found.MonthlyUSD.Reason == "" {
			t.Errorf("%s is incomplete: %+v", id, found)
		}
		if fires(twin) != nil {
			t.Errorf("%s fires on the twin", id)
		}
		if id != "arm64" && fires(nil) != nil {
			t.Errorf("%s fires on a function with nothing wrong", id)
		}
	}
	java := func(f *Function) { f.AWS.Runtime, f.InitMS.P50 = "java21", figure(2500) }
	f("snapstart-on", java, func(f *Function) { java(f); f.AWS.PackageType = "Image" })
	f("snapstart-on", func(f *Function) { f.AWS.Runtime, f.InitMS.P50 = "python3.12", figure(1200) },
		func(f *Function) { f.AWS.Runtime, f.InitMS.P50 = "python3.9", figure(1200) })
	f("snapstart-on", func(f *Function) { f.AWS, f.Runtimes, f.InitMS.P50 = nil, []string{"java:17.v40"}, figure(1200) },
		func(f *Function) { f.AWS, f.Runtimes, f.InitMS.P50 = nil, []string{"java:8.al2.v40"}, figure(1200) })
	restores := func(mean float64) func(*Function) {
		return func(f *Function) {
			f.Kinds = []string{"snap-start"}
			f.InitParts = []InitPart{{Part: "restore", Basis: "measured", MeanMS: mean, Share: 1, N: 100}}
		}
	}
	f("snapstart-slow", restores(900), restores(200))
	penalty := func(runtime string, ms float64) func(*Function) {
		return func(f *Function) { f.AWS.Runtime, f.FirstInvokePenalty.P50 = runtime, figure(ms) }
	}
	f("java-tiered", penalty("java21", 800), penalty("nodejs22.x", 800))
	f("dotnet-ready-to-run", penalty("dotnet8", 400), penalty("dotnet8", 100))
	f("arm64", nil, func(f *Function) { f.Architectures = []string{"amd64", "arm64"} })
	f("arm64", nil, func(f *Function) { f.Invocations, f.MemoryCurve[0].Invocations = 100, 100 })
	f("init-billed", func(f *Function) { f.ColdStarts, f.ColdStartRate = 50_000, rate(50_000, 1_000_000) },
		func(f *Function) { f.ColdStarts, f.ColdStartRate = 10_000, rate(10_000, 1_000_000) })
	f("memory-unused", func(f *Function) {
		f.MemoryCurve[0].MemoryUsed.P99, f.MemoryCurve[0].MemoryUsed.Max = figure(30), figure(40)
	}, func(f *Function) {
		f.MemoryCurve[0].MemoryUsed.P99, f.MemoryCurve[0].MemoryUsed.Max = figure(30), figure(60)
	})
	throttles := func(n float64) func(*Function) {
		return func(f *Function) { f.AWS.Metrics.Throttles = figure(n) }
	}
	f("throttled", throttles(5000), throttles(100))
	reserved := func(n int64) func(*Function) {
		return func(f *Function) { throttles(5000)(f); f.AWS.ReservedConcurrency = &n }
	}
	f("reserved-tight", reserved(12), reserved(50))
	provisioned := func(utilization float64, spilled float64) func(*Function) {
		return func(f *Function) {
			p := account.Provisioned{Qualifier: "live", Requested: 10, Spillover: figure(spilled), Invocations: figure(10_000)}
			for range enoughHours {
				p.Utilization = append(p.Utilization, utilization)
			}
			f.AWS.Provisioned = []account.Provisioned{p}
		}
	}
	f("provisioned-shrink", provisioned(0.3, 0), provisioned(0.8, 0))
	f("provisioned-spill", provisioned(0.8, 500), provisioned(0.8, 50))
	age := func(hours float64) func(*Function) {
		return func(f *Function) { f.AWS.Metrics.IteratorAgeMaxMS = figure(hours * 3.6e6) }
	}
	f("iterator-age", age(3), age(1))
	f("async-lost", func(f *Function) {
		f.AWS.Metrics.AsyncEventsDropped, f.AWS.Metrics.AsyncEventsReceived = figure(1), figure(100)
	},
		func(f *Function) { f.AWS.Metrics.AsyncEventsDropped = figure(0) })
	f("timeout-near", func(f *Function) { f.DurationMS.All.P95 = figure(2700) }, func(f *Function) { f.DurationMS.All.P95 = figure(1500) })
	f("runtime-deprecated", func(f *Function) { f.AWS.Runtime = "nodejs16.x" }, func(f *Function) { f.AWS.Runtime = "nodejs24.x" })
	provisionedFor := func(extra, spill float64, colds float64) func(*Function) {
		return func(f *Function) {
			f.ColdStartRate = rate(colds, 1_000_000)
			f.Provisioned = []ProvisionedPoint{{Environments: 1, Spill: 0.3, ExtraUSD: 1, Avoided: 0}, {Environments: 4, Spill: spill, ExtraUSD: extra, Avoided: 3000}}
			f.Concurrency.Arrivals = 1_000_000
		}
	}
	f("provisioned-add", provisionedFor(40, 0.005, 20_000), provisionedFor(40, 0.005, 5_000))  // too few cold starts to pay for
	f("provisioned-add", provisionedFor(-40, 0.005, 5_000), provisionedFor(-40, 0.05, 20_000)) // none is enough
	f("storage-paid", func(f *Function) { f.AWS.EphemeralStorageMB, f.storagePrice, f.months = 10_240, 0.0000000309, 0.01 },
		func(f *Function) { f.AWS.EphemeralStorageMB, f.storagePrice, f.months = 768, 0.0000000309, 0.01 })
	f("cold-rate", func(f *Function) { f.ColdStartRate = rate(20_000, 1_000_000) }, func(f *Function) { f.ColdStartRate = rate(9_000, 1_000_000) })
}

// Provisioned environments against closed forms: with nothing to spill and no
// cold starts the extra cost is zero at the break-even of 60 %.
func TestProvisionedBreakEven(t *testing.T) {
	const od, pc, pcDuration = 0.0000166667, 0.0000041667, 0.0000097222
	utilization := pc / (od - pcDuration)
	l := load{invocations: utilization * monthSeconds / 0.1, gb: 1, runSeconds: 0.1}
	p := l.provisioned(1, 0, od, pc, pcDuration)
	if p.Utilization < 0.5999 || p.Utilization > 0.6001 || p.ExtraUSD < -0.01 || p.ExtraUSD > 0.01 {
		t.Errorf("at the break-even: %+v", p)
	}
	l.invocations /= 2
	if p := l.provisioned(1, 0, od, pc, pcDuration); p.ExtraUSD < 1 {
		t.Errorf("at half of it: %+v", p)
	}
	// What spills may all start cold, but not more than do today.
	l = load{invocations: 1000, coldStarts: 50, gb: 1, runSeconds: 0.1, initSeconds: 1}
	if p := l.provisioned(2, 0.02, od, pc, pcDuration); p.Avoided != 30 || p.USDPerAvoided == nil {
		t.Errorf("%+v", p)
	}
	if p := l.provisioned(1, 0.2, od, pc, pcDuration); p.Avoided != 0 || p.USDPerAvoided != nil {
		t.Errorf("%+v", p)
	}
}

// Nothing is said about the account where nobody asked AWS.
func TestAccountRulesAreSilentWithoutItsData(t *testing.T) {
	f := typical()
	f.AWS = nil
	for _, rule := range accountRules() {
		if found := rule.find(f, viewCurve(f)); found != nil {
			t.Errorf("%s fires without the account's data: %s", rule.ID, found.Claim)
		}
	}
}

func TestConflictingAdviceIsGivenOnce(t *testing.T) {
	got := resolve([]Finding{{ID: "memory-pressure", Change: "Raise."}, {ID: "memory-cheaper", Change: "Lower."}, {ID: "errors"}})
	if len(got) != 2 || got[0].ID != "memory-pressure" || got[1].ID != "errors" || !strings.Contains(got[0].Evidence[0], "Lower.") {
		t.Errorf("%+v", got)
	}
}

// The money of a month is that of the range, scaled to 30 days.
func TestMonthlyMoney(t *testing.T) {
	f := typical()
	f.months = 0.5
	finding := Finding{Effect: Effect{unitPerMillion, figure(0.50), figure(0.20), figure(0.80)}}
	finding.price(f)
	if m := finding.MonthlyUSD; *m.Value != 1 || *m.Low != 0.4 || *m.High != 1.6 {
		t.Errorf("money %v, %v, %v", *m.Value, *m.Low, *m.High)
	}
	if got := moneyText(finding.MonthlyUSD); got != "saves $1.00 a month ($0.400 to $1.60)" {
		t.Errorf("%q", got)
	}
	none := Finding{Effect: Effect{Unit: unitMS, Value: figure(5)}}
	if none.price(f); none.MonthlyUSD.Value != nil || none.MonthlyUSD.Reason == "" {
		t.Errorf("money of milliseconds: %+v", none.MonthlyUSD)
	}
}

func TestRuleDocumentation(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Title == "" || r.When == "" || r.Source == "" || r.find == nil {
			t.Errorf("rule %q is listed twice or incomplete", r.ID)
		}
		seen[r.ID] = true
	}
	for _, pair := range exclusive() {
		for _, id := range pair {
			if !seen[id] {
				t.Errorf("%v names a rule that is not there", pair)
			}
		}
	}
}

// Words from outside cannot leave their place in a command.
func TestPatchesQuote(t *testing.T) {
	f := typical()
	f.Region = "x; rm -rf /"
	for _, p := range memoryPatches(f, 256) {
		if p.Tool == toolCLI && !strings.Contains(p.Text, "--region 'x; rm -rf /'") {
			t.Errorf("%s", p.Text)
		}
	}
	f.Region = "us-east-1"
	for tool, want := range map[string]string{
		toolSAM: "  MemorySize: 256", toolCDK: "  memorySize: 256,", toolTerraform: "  memory_size = 256",
		toolCLI: "aws lambda update-function-configuration --region us-east-1 --function-name f --memory-size 256",
	} {
		found := false
		for _, p := range memoryPatches(f, 256) {
			found = found || p.Tool == tool && strings.Contains(p.Text, want)
		}
		if !found {
			t.Errorf("no patch for %s with %q", tool, want)
		}
	}
}
