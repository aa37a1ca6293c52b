package pricing

import (
	"math"
	"strings"
	"testing"
)

func TestOnDemand(t *testing.T) {
	table, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	f := func(region, arch string, perGBSecond, perMillionRequests float64, basis Basis) {
		t.Helper()
		got, err := table.OnDemand(region, arch)
		if err != nil {
			t.Fatal(err)
		}
		if got.PerGBSecond != perGBSecond || math.Abs(got.PerRequest*1e6-perMillionRequests) > 1e-9 || got.Basis != basis {
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
	table, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"mars-1", "amd64"}, {"", "arm64"}, {"default", "amd64"}, {"us-east-1", "riscv"}, {"ap-northeast-3", "amd64"}} {
		if price, err := table.OnDemand(c[0], c[1]); err == nil {
			t.Errorf("%v has a price: %+v", c, price)
		}
	}
}

// Every price of the file has to be found by the name of its region, and none
// may be zero.
func TestEveryRegionHasBothArchitectures(t *testing.T) {
	table, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	regions := append(defaultRegions(), "us-east-1")
	for region := range table.duration {
		if region != "default" {
			regions = append(regions, region)
		}
	}
	for _, region := range regions {
		for _, arch := range []string{"amd64", "arm64"} {
			if p, err := table.OnDemand(region, arch); err != nil || p.PerGBSecond <= 0 || p.PerRequest <= 0 {
				t.Errorf("%s %s: %+v, %v", region, arch, p, err)
			}
		}
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
	if _, err := parse([]byte("{")); err == nil {
		t.Error("a broken price list was read")
	}
	if _, err := parse([]byte("{}")); err == nil {
		t.Error("an empty price list was read")
	}
}
