package pricing

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func table(t testing.TB) *Table {
	t.Helper()
	out, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rates(t testing.TB, table *Table, region, arch string) *Rates {
	t.Helper()
	r, err := table.Rates(region, arch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnDemand(t *testing.T) {
	table := table(t)
	f := func(region, arch string, perGBSecond, perMillionRequests float64, basis Basis) {
		t.Helper()
		got, err := table.OnDemand(region, arch)
		if err != nil {
			t.Fatal(err)
		}
		if got.PerGBSecond != perGBSecond || math.Abs(got.PerRequest*1e6-perMillionRequests) > 1e-9 || got.Basis != basis || got.Date != Date {
			t.Errorf("%s %s: %+v", region, arch, got)
		}
	}
	f("us-east-1", "amd64", 1.66667e-05, 0.20, PriceList)
	f("us-east-1", "arm64", 1.33334e-05, 0.20, PriceList)
	f("af-south-1", "arm64", 1.768e-05, 0.20, RegionalList)
	f("ap-east-1", "x86_64", 2.292e-05, 0.28, RegionalList)
	f("eu-west-1", "amd64", 1.66667e-05, 0.20, AssumedDefault)
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	table := table(t)
	for _, c := range [][2]string{{"mars-1", "amd64"}, {"", "arm64"}, {"default", "amd64"}, {"us-east-1", "riscv"}, {"ap-northeast-3", "amd64"}} {
		if price, err := table.OnDemand(c[0], c[1]); err == nil {
			t.Errorf("%v has a price: %+v", c, price)
		}
	}
	// Outside us-east-1 only requests and the first tier are known.
	elsewhere := rates(t, table, "eu-west-1", "amd64")
	for _, u := range []Usage{
		{ProvisionedGBSeconds: 1}, {ProvisionedDurationGBSeconds: 1}, {StorageGBSeconds: 1}, {CacheGBSeconds: 1},
		{RestoredGB: 1}, {StreamedGB: 1}, {GBSeconds: 6e9 + 1}, {GBSeconds: -1}, {GBSeconds: math.NaN()},
	} {
		if b, err := elsewhere.Bill(u); err == nil {
			t.Errorf("%+v costs %+v", u, b)
		}
	}
	var unknown *UnknownError
	if _, err := elsewhere.Of(SnapStartCache); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "eu-west-1") || !strings.Contains(err.Error(), "SnapStart") {
		t.Errorf("the error does not say what is not known: %v", err)
	}
	if _, err := elsewhere.Price(7e9); !errors.As(err, &unknown) {
		t.Errorf("a volume beyond the known tier has a price: %v", err)
	}
}

// Every region of the list has both architectures, and no price is zero.
func TestEveryRegionHasBothArchitectures(t *testing.T) {
	table := table(t)
	if n := len(table.Regions()); n != 21 {
		t.Errorf("%d regions", n)
	}
	for _, region := range table.Regions() {
		for _, arch := range []string{"amd64", "arm64"} {
			if p, err := table.OnDemand(region, arch); err != nil || p.PerGBSecond <= 0 || p.PerRequest <= 0 {
				t.Errorf("%s %s: %+v, %v", region, arch, p, err)
			}
		}
	}
}

// The calculator equals the published list: one unit of each item costs its
// price, and volumes at, below and above the ends of the tiers cost what the
// tiers add up to.
func TestEqualsThePublishedTable(t *testing.T) {
	table := table(t)
	const eps = 1e-12
	equal := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > eps*max(1, want) {
			t.Errorf("%s = %.15g, want %.15g", what, got, want)
		}
	}
	x, a := rates(t, table, "us-east-1", "x86_64"), rates(t, table, "us-east-1", "arm64")
	for _, c := range []struct {
		what string
		r    *Rates
		u    Usage
		want float64
	}{
		{"a request", x, Usage{Requests: 1}, 0.0000002},
		{"a GB-second", x, Usage{GBSeconds: 1}, 0.0000166667},
		{"a GB-second on arm64", a, Usage{GBSeconds: 1}, 0.0000133334},
		{"provisioned", x, Usage{ProvisionedGBSeconds: 1}, 0.0000041667},
		{"provisioned on arm64", a, Usage{ProvisionedGBSeconds: 1}, 0.0000033334},
		{"provisioned duration", x, Usage{ProvisionedDurationGBSeconds: 1}, 0.0000097222},
		{"provisioned duration on arm64", a, Usage{ProvisionedDurationGBSeconds: 1}, 0.0000077778},
		{"storage", x, Usage{StorageGBSeconds: 1}, 0.0000000309},
		{"cache", x, Usage{CacheGBSeconds: 1}, 0.0000015046},
		{"restore", a, Usage{RestoredGB: 1}, 0.0001397998},
		{"stream", x, Usage{StreamedGB: 1}, 0.008},
		{"the first tier", x, Usage{GBSeconds: 6e9}, 100000.2},
		{"into the second", x, Usage{GBSeconds: 7e9}, 100000.2 + 15000},
		{"the second", x, Usage{GBSeconds: 15e9}, 100000.2 + 135000},
		{"into the third", x, Usage{GBSeconds: 16e9}, 100000.2 + 135000 + 13333.4},
		{"into the third on arm64", a, Usage{GBSeconds: 20e9}, 7.5e9*0.0000133334 + 11.25e9*0.0000120001 + 1.25e9*0.0000106667},
	} {
		b, err := c.r.Bill(c.u)
		if err != nil {
			t.Fatal(err)
		}
		equal(c.what, b.Total(), c.want)
	}
	p, err := x.Price(16e9)
	if err != nil {
		t.Fatal(err)
	}
	equal("the average price", p.PerGBSecond, (100000.2+135000+13333.4)/16e9)
}

// AWS's page prints prices of one millisecond, to ten decimals.
func TestPricesOfAMillisecond(t *testing.T) {
	table := table(t)
	for _, c := range []struct {
		arch   string
		prices map[float64]string
	}{
		{"x86_64", map[float64]string{128: "0.0000000021", 512: "0.0000000083", 1024: "0.0000000167", 1536: "0.0000000250", 2048: "0.0000000333", 3072: "0.0000000500", 10240: "0.0000001667"}},
		{"arm64", map[float64]string{128: "0.0000000017", 512: "0.0000000067", 1024: "0.0000000133", 1536: "0.0000000200", 2048: "0.0000000267", 10240: "0.0000001333"}},
	} {
		for memory, want := range c.prices {
			b, err := rates(t, table, "us-east-1", c.arch).Bill(Usage{GBSeconds: GBSeconds(memory, 0.001)})
			if err != nil {
				t.Fatal(err)
			}
			if got := formatFloat(b.Total(), 10); got != want {
				t.Errorf("%s, %g MB: %s, want %s", c.arch, memory, got, want)
			}
		}
	}
}

func formatFloat(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }

// The examples of https://aws.amazon.com/lambda/pricing/, to the cent, of which
// AWS rounds every line.
func TestAWSExamples(t *testing.T) {
	x := rates(t, table(t), "us-east-1", "x86_64")
	hours := func(n float64) float64 { return ProvisionedTime(time.Duration(n * float64(time.Hour))).Seconds() }
	for _, c := range []struct {
		name string
		u    Usage
		want string
	}{
		{"mobile application backend", Usage{FreeTier: true, Requests: 3e6, GBSeconds: GBSeconds(1536, 3e6*0.120)}, "2.73"},
		{"streaming telemetry", Usage{Requests: 7.44e6, GBSeconds: GBSeconds(1024, 7.44e6*2)}, "249.49"},
		{"support tickets, 2,048 MB of storage", Usage{FreeTier: true, Requests: 6e6, GBSeconds: GBSeconds(4096, 6e6*0.280),
			StorageGBSeconds: StorageGBSeconds(2048, 6e6*0.280)}, "106.41"},
		{"provisioned concurrency: mobile launch", Usage{FreeTier: true, Requests: 3e6, GBSeconds: GBSeconds(1536, 2.5e6*0.120),
			ProvisionedGBSeconds: 100 * GBSeconds(1536, hours(8)), ProvisionedDurationGBSeconds: GBSeconds(1536, 500e3*0.100)}, "19.96"},
		{"provisioned concurrency: Cyber Monday", Usage{Requests: 2e6, ProvisionedGBSeconds: 7 * GBSeconds(4096, hours(24)),
			ProvisionedDurationGBSeconds: GBSeconds(4096, 2e6*0.280)}, "32.26"},
		{"SnapStart: streaming telemetry", Usage{Requests: 7.44e6, GBSeconds: GBSeconds(1024, 7.44e6*2),
			CacheGBSeconds: GBSeconds(1024, CacheTime(31*24*time.Hour).Seconds()), RestoredGB: 0.01 * 7.44e6}, "263.92"},
		{"response streaming", Usage{FreeTier: true, Requests: 3e6, GBSeconds: GBSeconds(1536, 3e6*0.5), StreamedGB: FreeStreamGB + 1e6/1024.0}, "39.04"},
	} {
		b, err := x.Bill(c.u)
		if err != nil {
			t.Fatal(err)
		}
		var lines float64
		for _, line := range []float64{b.Requests, b.Duration, b.Provisioned, b.ProvisionedDuration, b.Storage, b.SnapStartCache, b.SnapStartRestore, b.ResponseStream} {
			lines += math.Round(100*line) / 100
		}
		if got := formatFloat(lines, 2); got != c.want || math.Abs(lines-b.Total()) > 0.01 {
			t.Errorf("%s: $%s, AWS says $%s: %+v", c.name, got, c.want, b)
		}
	}
}

func TestTimesThatAreCharged(t *testing.T) {
	if ProvisionedTime(7*time.Minute) != 10*time.Minute || ProvisionedTime(10*time.Minute) != 10*time.Minute {
		t.Error("provisioned concurrency is not charged in steps of five minutes")
	}
	if CacheTime(time.Hour) != 3*time.Hour || CacheTime(4*time.Hour) != 4*time.Hour {
		t.Error("a snapshot is not charged for three hours at least")
	}
	if StorageGBSeconds(512, 9) != 0 || StorageGBSeconds(1536, 9) != 9 {
		t.Error("the first 512 MB of storage are charged")
	}
	if !SnapStartIsFree("java21") || SnapStartIsFree("python3.13") || SnapStartIsFree("") {
		t.Error("SnapStart is free for Java and nothing else")
	}
}

// 1 s at 1024 MB is one GB-second.
func TestPerMillion(t *testing.T) {
	p := Price{PerGBSecond: 1.66667e-05, PerRequest: 2e-7}
	if got := p.PerMillion(1024, 1); math.Abs(got-16.8667) > 1e-9 {
		t.Errorf("PerMillion = %g", got)
	}
	if got := p.PerMillion(128, 0.1); math.Abs(got-(0.2+0.2083337500)) > 1e-6 {
		t.Errorf("PerMillion = %g", got)
	}
}

func TestDateIsThatOfTheFile(t *testing.T) {
	if !strings.Contains(string(embedded), "as of "+Date) {
		t.Errorf("the price list is not of %s", Date)
	}
	for _, text := range []string{"{", "{}", `{"us-east-1":{"x86_64":{"tiers":[{"per_gb_s":-1}]},"arm64":{"tiers":[{"per_gb_s":1}]}}}`} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func offerFile(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/offer.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReplaceByAWSOfferFile(t *testing.T) {
	table := table(t)
	before := rates(t, table, "us-east-1", "x86_64")
	if err := table.Replace(strings.NewReader(offerFile(t))); err != nil {
		t.Fatal(err)
	}
	if table.Date != "2026-10-01" {
		t.Errorf("date = %s", table.Date)
	}
	after := rates(t, table, "us-east-1", "x86_64")
	if after.Basis != OfferFile || after.Date != "2026-10-01" || len(after.Tiers) != 3 {
		t.Errorf("%+v", after)
	}
	u := Usage{Requests: 9e6, GBSeconds: 16e9, ProvisionedGBSeconds: 3, ProvisionedDurationGBSeconds: 4, StorageGBSeconds: 5, CacheGBSeconds: 6, RestoredGB: 7}
	a, err := before.Bill(u)
	if err != nil {
		t.Fatal(err)
	}
	b, err := after.Bill(u)
	if err != nil || math.Abs(a.Total()-b.Total()) > 1e-12*a.Total() {
		t.Errorf("the same prices cost %v and %v, %v", a.Total(), b.Total(), err)
	}
	// Regions have a prefix; what the file does not price has no price.
	ohio := rates(t, table, "us-east-2", "arm64")
	if got, err := ohio.Of(Provisioned); err != nil || got != 3.3334e-06 {
		t.Errorf("provisioned concurrency in us-east-2: %g, %v", got, err)
	}
	osaka := rates(t, table, "ap-northeast-3", "amd64")
	if _, err := osaka.Of(Provisioned); err == nil {
		t.Error("provisioned concurrency has a price that is not in the file")
	}
	if p, err := osaka.Price(0); err != nil || p.PerGBSecond != 1.66667e-05 {
		t.Errorf("ap-northeast-3: %+v, %v", p, err)
	}
	// Not in the file: from the embedded list, as it says.
	if r := rates(t, table, "eu-west-1", "amd64"); r.Basis != AssumedDefault || r.Date != Date {
		t.Errorf("eu-west-1: %+v", r)
	}
	if _, err := table.Rates("cn-north-1", "amd64"); err == nil {
		t.Error("a price in CNY is one in USD")
	}
}

func TestReplaceRefuses(t *testing.T) {
	whole := offerFile(t)
	for name, text := range map[string]string{
		"nothing":        "",
		"another format": "OfferCode,Version\n",
		"another offer":  strings.Replace(whole, `"AWSLambda"`, `"AmazonS3"`, 1),
		"no date":        strings.Replace(whole, "2026-10-01T17:03:11Z", "soon", 1),
		"a hole":         strings.ReplaceAll(whole, `"beginRange": "6000000000"`, `"beginRange": "7000000000"`),
		"no end":         strings.ReplaceAll(whole, `"endRange": "Inf"`, `"endRange": "20000000000"`),
		"no number":      strings.ReplaceAll(whole, `"0.0000166667"`, `"cheap"`),
		"NaN":            strings.ReplaceAll(whole, `"0.0000166667"`, `"NaN"`),
		"free":           strings.ReplaceAll(whole, `"0.0000166667"`, `"0"`),
		"no region":      strings.ReplaceAll(whole, `"regionCode"`, `"region"`),
	} {
		table := table(t)
		if err := table.Replace(strings.NewReader(text)); err == nil {
			t.Errorf("%s: was read", name)
		} else if table.Date != Date || rates(t, table, "us-east-1", "amd64").Basis != PriceList {
			t.Errorf("%s: replaced some of the prices", name)
		}
	}
}

func FuzzReplace(f *testing.F) {
	f.Add(offerFile(f))
	f.Add(`{"offerCode":"AWSLambda","publicationDate":"2026-10-01T00:00:00Z","products":{"A":{"attributes":{"usagetype":"Lambda-GB-Second","regionCode":"x"}}},"terms":{"OnDemand":{"A":{"B":{"priceDimensions":{"C":{"beginRange":"0","endRange":"Inf","pricePerUnit":{"USD":"0.1"}}}}}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		table := table(t)
		if table.Replace(strings.NewReader(text)) != nil {
			return
		}
		for _, r := range table.rates {
			if b, err := r.Bill(Usage{Requests: 1, GBSeconds: 1e11}); err == nil && !(b.Total() > 0) {
				t.Errorf("%+v costs %+v", r, b)
			}
		}
	})
}
