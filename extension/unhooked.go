package extension

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thaw-lambda/thaw/internal/goinit"
	"github.com/thaw-lambda/thaw/internal/hsperf"
	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// goBinary is what an OS-only runtime starts.
const goBinary = "/var/task/bootstrap"

// unhooked profiles an init into whose process no hook was loaded, as far as
// that can be done from outside. It returns nil where nothing is known.
func (p *profiler) unhooked(in *initState) *initprofile.Profile {
	if profile := p.goProfile(in); profile != nil {
		return profile
	}
	return p.jvmProfile(in)
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

const (
	// maxTmp bounds the names in /tmp that are looked at, maxJVMs the JVMs.
	maxTmp  = 1024
	maxJVMs = 4
)

// copyJVMs copies the counters of the JVMs that are not copied yet: they go on
// counting, and it is the end of the init that is of interest.
func (p *profiler) copyJVMs() {
	tmp, err := os.Open(p.tmp)
	if err != nil {
		return
	}
	defer tmp.Close()
	names, _ := tmp.Readdirnames(maxTmp)
	for _, name := range names {
		if strings.HasPrefix(name, "hsperfdata_") {
			p.copyJVMsOf(filepath.Join(p.tmp, name))
		}
	}
}

// copyJVMsOf copies those of one user.
func (p *profiler) copyJVMsOf(dir string) {
	root, err := openFolder(dir)
	if err != nil {
		return
	}
	defer root.Close()
	folder, err := root.Open(".")
	if err != nil {
		return
	}
	defer folder.Close()
	pids, _ := folder.Readdirnames(maxTmp)
	for _, pid := range pids {
		path := filepath.Join(dir, pid)
		if _, err := strconv.Atoi(pid); err != nil || p.jvms[path] != nil || len(p.jvms) >= maxJVMs {
			continue
		}
		if data, err := readOwn(root, pid, hsperf.MaxBytes); err == nil {
			p.jvms[path] = data
		}
	}
}

// jvmProfile takes the JVM that was the first to begin in the init.
func (p *profiler) jvmProfile(in *initState) *initprofile.Profile {
	var first *initprofile.Profile
	for _, data := range p.jvms {
		counters, err := hsperf.Parse(data)
		if err != nil {
			continue
		}
		profile := counters.Profile()
		if profile == nil || profile.Origin.Before(in.begin().Add(-profileSlack)) || !in.end().IsZero() && profile.Origin.After(in.end().Add(profileSlack)) {
			continue
		}
		if first == nil || profile.Origin.Before(first.Origin) {
			first = profile
		}
	}
	return first
}
