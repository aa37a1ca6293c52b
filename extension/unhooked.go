package extension

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thaw-lambda/thaw/internal/classlog"
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

// copyClassLogs copies what JVMs that were asked to have logged so far in one of
// the folders of profiles, each once.
func (p *profiler) copyClassLogs(root *os.Root, dir string) {
	folder, err := root.Open(".")
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(maxTmp)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if !strings.HasPrefix(name, "classes-") || !strings.HasSuffix(name, ".log") || p.classLogs[path] != nil || len(p.classLogs) >= maxJVMs {
			continue
		}
		if data, err := readOwn(root, name, classlog.MaxBytes); err == nil {
			p.classLogs[path] = data
		}
	}
}

// jvmProfile takes the JVM that was the first to begin in the init: by the
// classes it logged, or else by what it counted.
func (p *profiler) jvmProfile(in *initState) *initprofile.Profile {
	var logged, counted []*initprofile.Profile
	for _, data := range p.classLogs {
		logged = append(logged, classlog.Profile(data))
	}
	for _, data := range p.jvms {
		if counters, err := hsperf.Parse(data); err == nil {
			counted = append(counted, counters.Profile())
		}
	}
	if profile := in.first(logged); profile != nil {
		return profile
	}
	return in.first(counted)
}

// first returns the profile of the process that was the first to begin in the
// init, nil if none did. There may be nils among them.
func (in *initState) first(profiles []*initprofile.Profile) (first *initprofile.Profile) {
	from, to := in.begin().Add(-profileSlack), in.end().Add(profileSlack)
	for _, p := range profiles {
		if p == nil || p.Origin.Before(from) || !in.end().IsZero() && p.Origin.After(to) {
			continue
		}
		if first == nil || p.Origin.Before(first.Origin) {
			first = p
		}
	}
	return first
}
