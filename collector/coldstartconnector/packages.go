package coldstartconnector

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

const (
	// maxPackages have their own series: the heaviest of the first inits of a
	// version that were profiled. A version loads the same ones every time, so
	// that these are the heaviest of all of them but for $LATEST, which changes.
	// A series that has begun is never taken away: counters do not reset.
	maxPackages = 20
	// minPackage is what a package takes at least to get one.
	minPackage = time.Millisecond
)

// packages adds the profile of an init, if it has one.
func (f fold) packages(in *lifecycle.Init) {
	if in.Profile == nil {
		return
	}
	f.function.observe(initProfiled, in.Duration.Seconds())
	var rest time.Duration
	left := 0
	for _, p := range in.Profile.Packages {
		values := [maxLabels]string{clean(p.Name), clean(p.Version), oneOf(p.Origin, "function", "layer", "runtime", "built-in")}
		known := f.function.byKey[seriesKey{packageDuration, values}] != nil
		if p.Name == lifecycle.PackageOther || !known && (p.Self < minPackage || f.function.count(packageDuration) >= maxPackages) {
			rest += p.Self
			left++
			continue
		}
		f.function.observe(packageDuration, p.Self.Seconds(), values[:]...)
	}
	if left > 0 {
		f.function.observe(packageDuration, rest.Seconds(), lifecycle.PackageOther)
	}
}

// codeProfile codes what packages uses of a profile.
func codeProfile(c codec, p *lifecycle.InitProfile) {
	codeSlice(c, &p.Packages, 4, func(c codec, t *lifecycle.PackageTime) {
		t.Name = c.str(t.Name)
		t.Version = c.str(t.Version)
		t.Origin = c.str(t.Origin)
		codeDuration(c, &t.Self)
	})
}
