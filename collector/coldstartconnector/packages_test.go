package coldstartconnector

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// profiled is a batch with one init that took a second and loaded packages.
func profiled(n byte, packages ...lifecycle.PackageTime) batch {
	o := lifecycle.Observation{
		Environment: environment("thumbnail", "a"), Began: noon, Time: noon, Type: lifecycle.SpanInit,
		Init: &lifecycle.Init{Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Duration: time.Second,
			Profile: &lifecycle.InitProfile{Hook: "node/1", Packages: packages, Tree: []byte("not for the journal")}},
	}
	o.SpanID[0] = n
	return batch{at: noon.Unix(), observations: []lifecycle.Observation{o}}
}

func packageSeries(s *state) map[string]*histogram {
	out := map[string]*histogram{}
	for _, x := range s.functions[0].series {
		if x.key.family == packageDuration {
			out[x.key.values[0]+" "+x.key.values[1]] = x.histogram
		}
	}
	return out
}

func TestPackages(t *testing.T) {
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	ms := time.Millisecond
	s3 := lifecycle.PackageTime{Name: "@aws-sdk/client-s3", Version: "3.600.0", Origin: "function", Self: 500 * ms}
	small := lifecycle.PackageTime{Name: "small", Origin: "layer", Self: ms / 2}
	rest := lifecycle.PackageTime{Name: lifecycle.PackageOther, Self: 20 * ms}
	s.apply(profiled(1, s3, small, rest))
	s3.Self, small.Self = 300*ms, 2*ms
	s.apply(profiled(2, s3, small))
	s.apply(profiled(2, s3, small)) // sent again
	got := packageSeries(s)
	if h := got["@aws-sdk/client-s3 3.600.0"]; h == nil || h.count != 2 || math.Abs(h.sum-0.8) > 1e-9 {
		t.Errorf("client-s3: %+v", h)
	}
	if h := got["(other) "]; h == nil || h.count != 1 || math.Abs(h.sum-0.0205) > 1e-9 {
		t.Errorf("other: %+v", h)
	}
	if h := got["small "]; h == nil || h.count != 1 || math.Abs(h.sum-0.002) > 1e-9 {
		t.Errorf("small: %+v", h)
	}
	if h := s.functions[0].get(initProfiled).histogram; h.count != 2 || h.sum != 2 {
		t.Errorf("profiled inits: %+v", h)
	}
}

// Whatever is loaded, a version has at most 20 packages and the rest.
func TestPackagesAreBounded(t *testing.T) {
	s := newState(settleLimits, "the-instance", noon.UnixMilli())
	var sum time.Duration
	for i := range 200 {
		var packages []lifecycle.PackageTime
		for k := range 40 {
			p := lifecycle.PackageTime{Name: fmt.Sprint("p", i, "-", k), Version: fmt.Sprint(k), Origin: "x", Self: time.Duration(40-k) * time.Millisecond}
			packages = append(packages, p)
			sum += p.Self
		}
		s.apply(profiled(byte(i+1), packages...))
	}
	series, total := packageSeries(s), 0.0
	for _, h := range series {
		total += h.sum
	}
	if len(series) != maxPackages+1 || math.Abs(total-sum.Seconds()) > 1e-6 {
		t.Errorf("%d series that sum to %v, want %d and %v", len(series), total, maxPackages+1, sum.Seconds())
	}
	if series["p0-0 0"] == nil || series["p0-39 39"] != nil {
		t.Error("it is not the heaviest that have a name")
	}
}

// The journal holds what is counted, and not the tree.
func TestPackagesInTheJournal(t *testing.T) {
	b := profiled(1, lifecycle.PackageTime{Name: "sharp", Version: "0.33.4", Origin: "function", Self: time.Second})
	record := encodeRecord(&b, codeBatch)
	var back batch
	if err := decodePayload(record[recordHeader:], &back, codeBatch); err != nil {
		t.Fatal(err)
	}
	p := back.observations[0].Init.Profile
	if p == nil || fmt.Sprint(p.Packages) != fmt.Sprint(b.observations[0].Init.Profile.Packages) || len(p.Tree) != 0 {
		t.Errorf("profile %+v", p)
	}
}
