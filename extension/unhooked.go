package extension

import (
	"github.com/thaw-lambda/thaw/internal/goinit"
	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// goBinary is what an OS-only runtime starts.
const goBinary = "/var/task/bootstrap"

// unhooked profiles an init into whose process no hook was loaded, as far as
// that can be done from outside. It returns nil where nothing is known.
func (p *profiler) unhooked(in *initState) *initprofile.Profile {
	return p.goProfile(in)
}

// goProfile takes the modules from the binary, and the times from the log, if
// the function asks for them with GODEBUG=inittrace=1.
func (p *profiler) goProfile(in *initState) *initprofile.Profile {
	lines, origin := p.rec.goInits.Take()
	build, err := goinit.ReadBuild(goBinary)
	if err != nil && len(lines) == 0 {
		return nil // not written in Go
	}
	begin, end := in.begin().Add(-profileSlack), in.end().Add(profileSlack)
	if len(lines) == 0 || origin.Before(begin) || !in.end().IsZero() && origin.After(end) {
		lines, origin = nil, in.begin()
	}
	return goinit.Profile(lines, origin, build)
}
