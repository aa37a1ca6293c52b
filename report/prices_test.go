package report

import (
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/internal/pricing"
)

// A report is priced by the list that it is given, and says which.
func TestPriceListIsReplaced(t *testing.T) {
	s := newStore(t)
	one := simulate("here", "1", 512)
	one.region = "ap-northeast-3" // not in the embedded list
	one.run(rand.New(rand.NewPCG(1, 4)), waits, 50, 5)
	s.write("a", minutes(1))
	s.write("a", minutes(59), one)
	o := Options{Start: minutes(0), End: minutes(60)}
	if f := build(t, s, o).Functions[0]; f.CostUSD.Value != nil || !strings.Contains(f.CostUSD.Reason, "ap-northeast-3") {
		t.Errorf("a region that is not listed costs %+v", f.CostUSD)
	}
	prices, err := pricing.Load()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("../internal/pricing/testdata/offer.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := prices.Replace(file); err != nil {
		t.Fatal(err)
	}
	o.Prices = prices
	r := build(t, s, o)
	f := r.Functions[0]
	if r.Pricing.Date != "2026-10-01" || f.PriceBasis != "price list file (ap-northeast-3, 2026-10-01)" {
		t.Errorf("date %s, basis %s", r.Pricing.Date, f.PriceBasis)
	}
	want := 250*2e-7 + one.group.billed.Sum*0.5*1.66667e-5
	if f.CostUSD.Value == nil || math.Abs(*f.CostUSD.Value/want-1) > 1e-6 || f.CostUSD.Low == nil {
		t.Errorf("cost = %+v, want %g", f.CostUSD, want)
	}
}

// An account whose volume goes beyond the first tier pays less for a GB-second;
// where the price of the next tier is not known, nothing is guessed.
func TestMonthlyTiers(t *testing.T) {
	s := newStore(t)
	var all []*simulated
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		one := simulate("large", "1", 10240)
		one.region = region
		one.run(rand.New(rand.NewPCG(1, 4)), waits, 50, 5)
		// Some 10 GB-seconds of billed duration for each invocation make 12
		// billion a month.
		for range 1700 {
			one.invoke(call{start: "warm", environment: "x", duration: 1000, billed: 1000, memoryMB: 60})
		}
		all = append(all, one)
	}
	s.write("a", minutes(1))
	s.write("a", minutes(59), all...)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	europe, america := r.Functions[0], r.Functions[1]
	if europe.CostUSD.Value != nil || !strings.Contains(europe.CostUSD.Reason, "beyond") {
		t.Errorf("eu-west-1: %+v", europe.CostUSD)
	}
	monthly := america.BilledGBSeconds * 720
	if monthly < 6e9 || monthly > 15e9 {
		t.Fatalf("%.3g GB-seconds a month do not reach the second tier alone", monthly)
	}
	price := (6e9*1.66667e-5 + (monthly-6e9)*1.5e-5) / monthly
	want := america.BilledGBSeconds*price + float64(america.Invocations)*2e-7
	if america.CostUSD.Value == nil || math.Abs(*america.CostUSD.Value/want-1) > 1e-6 {
		t.Errorf("cost = %v, want %g", *america.CostUSD.Value, want)
	}
}
