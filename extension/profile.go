package extension

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// profiler reads what hooks in the runtime wrote about inits. It works in a
// goroutine of its own: while the first invocation runs it only copies the
// file, and what costs CPU is done once that is over.
type profiler struct {
	log  zerolog.Logger
	rec  *recorder
	dirs []string
	// treeBytes bounds the whole tree that travels with the init.
	treeBytes int
	files     initprofile.Files
	// copies are files as they were last read, by path.
	copies map[string][]byte
	// tmp is where JVMs keep their counters, and jvms are these as they were
	// when an init was over.
	tmp  string
	jvms map[string][]byte
	// classLogs are what JVMs logged until then, where they were asked to.
	classLogs map[string][]byte
}

const (
	// maxProfiles bounds the files that are looked at: one is expected, and one
	// more for every child process that inherits the hook.
	maxProfiles = 16
	// maxPackages are told by name, at most.
	maxPackages = 48
	// A package has a span if it takes at least spanFloor and a hundredth of
	// the init; at most maxPackageSpans have.
	spanFloor       = 3 * time.Millisecond
	maxPackageSpans = 64
	// minPackage is what is not worth a name.
	minPackage = 100 * time.Microsecond
	// profileSlack is how far the clock of the file and the platform's may be
	// apart: the latter are cut to milliseconds, and sometimes late.
	profileSlack = 100 * time.Millisecond
)

func newProfiler(log zerolog.Logger, rec *recorder, environ []string, treeBytes int) *profiler {
	env := lookup(environ)
	p := &profiler{log: log, rec: rec, treeBytes: treeBytes, files: functionFiles{}, copies: map[string][]byte{}, tmp: "/tmp", jvms: map[string][]byte{}, classLogs: map[string][]byte{}}
	if dir := env("THAW_PROFILE_DIR"); dir != "" {
		p.dirs, p.tmp = []string{dir}, filepath.Dir(dir)
		return p
	}
	p.dirs = []string{"/tmp/.thaw"}
	// A local Lambda without mount namespaces gives each environment a folder.
	if tmp := env("TMPDIR"); filepath.IsAbs(tmp) && filepath.Clean(tmp) != "/tmp" {
		p.dirs = append(p.dirs, filepath.Join(tmp, ".thaw"))
	}
	return p
}

// run works until stop is closed.
func (p *profiler) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-p.rec.profile:
			p.work()
		}
	}
}

// work reads the files, and derives the profiles of the inits that wait for
// theirs. Whatever happens, they do not go on waiting. All that costs CPU is
// done here and not under the recorder's lock, which the loop over next needs.
func (p *profiler) work() {
	wanted := p.rec.wanted()
	var found map[*initState]*initProfile
	defer func() {
		if r := recover(); r != nil {
			logPanic(p.log, "reading an init profile", r)
		}
		if len(wanted) > 0 {
			p.rec.do(func(time.Time) { p.rec.machine.profiled(wanted, found) })
		}
	}()
	p.copy()
	if len(wanted) == 0 {
		return
	}
	found = p.match(wanted)
	p.forget()
}

// match finds the profile of each init: of several that began in its time the
// first, which is the runtime's own and not of a process that it started.
func (p *profiler) match(wanted []profileRequest) map[*initState]*initProfile {
	found := map[*initState]*initProfile{}
	profiles := p.parse()
	for i := len(wanted) - 1; i >= 0; i-- {
		in := &wanted[i].as
		at := slices.IndexFunc(profiles, func(profile *initprofile.Profile) bool {
			return profile.Origin.After(in.begin().Add(-profileSlack)) && (in.end().IsZero() || profile.Origin.Before(in.end().Add(profileSlack)))
		})
		if at < 0 {
			if profile := p.unhooked(in); profile != nil {
				found[wanted[i].in] = p.describe(profile, in)
			}
			continue
		}
		profiles[at].Resolve(p.files)
		found[wanted[i].in] = p.describe(profiles[at], in)
		profiles = slices.Delete(profiles, at, at+1)
	}
	return found
}

// copy reads the files. One that cannot be read any more stays as it was.
func (p *profiler) copy() {
	for _, dir := range p.dirs {
		root, err := openFolder(dir)
		if err != nil {
			continue // there is no hook
		}
		for _, name := range profileNames(root) {
			path := filepath.Join(dir, name)
			if _, known := p.copies[path]; !known && len(p.copies) >= maxProfiles {
				break
			}
			data, err := readOwn(root, name, initprofile.MaxBytes+1) // one more says that there is more
			if err != nil {
				p.log.Debug().Err(err).Str("file", path).Msg("an init profile cannot be read")
				continue
			}
			p.copies[path] = data
		}
		p.copyClassLogs(root, dir)
		_ = root.Close()
	}
	p.copyJVMs()
}

func profileNames(root *os.Root) []string {
	dir, err := root.Open(".")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(8 * maxProfiles)
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "init-") || !strings.HasSuffix(name, ".tsv")
	})
}

func (p *profiler) parse() []*initprofile.Profile {
	var out []*initprofile.Profile
	for path, data := range p.copies {
		profile, err := initprofile.Parse(data)
		if err != nil {
			p.log.Debug().Err(err).Str("file", path).Msg("an init profile cannot be read")
			continue
		}
		out = append(out, profile)
	}
	slices.SortFunc(out, func(a, b *initprofile.Profile) int { return a.Origin.Compare(b.Origin) })
	return out
}

// forget removes the files: the next init of this environment writes new ones.
// The hook goes on writing to those that are open, and nobody reads it.
func (p *profiler) forget() {
	for path := range p.copies {
		if root, err := openFolder(filepath.Dir(path)); err == nil {
			_ = root.Remove(filepath.Base(path))
			_ = root.Close()
		}
	}
	clear(p.copies)
	clear(p.jvms)
	clear(p.classLogs)
}

// openFolder opens a folder that is none of a stranger's: not a link, and ours
// or root's. Nothing below it is reached through a link out of it either.
func openFolder(dir string) (*os.Root, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() || !ours(info) {
		return nil, errors.New("not a folder of ours")
	}
	return os.OpenRoot(dir)
}

// ours says whether a file belongs to the user we run as, who also is the
// function's. Root, in a local Lambda, may read anybody's.
func ours(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	uid := os.Geteuid()
	return ok && (uid == 0 || int(st.Uid) == uid)
}

// readOwn reads a regular file of ours, without waiting for anybody: a FIFO
// has its name here as well.
func readOwn(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || !ours(info) {
		return nil, errors.New("not a regular file of ours")
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// functionFiles are the files of the function and its layers, which the
// profile names. Its paths are claims, so only regular files are read.
type functionFiles struct{}

func (functionFiles) Read(name string, limit int64) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func (functionFiles) Size(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("not a regular file")
	}
	return info.Size(), nil
}

func (functionFiles) List(name string, limit int) ([]string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(limit)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, errors.New("not a regular file")
	}
	return f, nil
}

// profileRequest asks for the profile of an init. It is a copy of what was known
// of it then, for use without the recorder's lock.
type profileRequest struct {
	in *initState
	as initState
}

// initProfile is what is known of an init by its profile.
type initProfile struct {
	*lifecycle.InitProfile
	// handler is when the runtime began to load the handler, the zero time if
	// the profile does not tell.
	handler time.Time
}

// describe derives what is sent of a profile.
func (p *profiler) describe(profile *initprofile.Profile, in *initState) *initProfile {
	end := profile.Ended()
	failed := in.failed(profile)
	if at := in.end(); !at.IsZero() && failed {
		end = max(end, at.Sub(profile.Origin)) // what is open was so until then
	}
	tree := profile.TreeUntil(end)
	out := &initProfile{InitProfile: &lifecycle.InitProfile{
		Hook:      cut(cmp.Or(profile.Facts[initprofile.FactHook], profile.Runtime)),
		HookCost:  profile.HookCost(),
		Truncated: profile.Truncated(),
		Packages:  packageTimes(tree),
		Spans:     packageSpans(tree, max(spanFloor, in.Duration/100)),
	}}
	if failed {
		out.Inside = cut(tree.InsideText())
	}
	for _, n := range tree.Late {
		out.Late += n.Total
	}
	if begin, ok := profile.Mark(initprofile.FactHandlerBegin); ok {
		out.handler = profile.Origin.Add(begin)
	}
	if p.treeBytes > 0 {
		var whole bool
		out.Tree, whole = profile.Pack(p.treeBytes)
		out.Truncated = out.Truncated || !whole
	}
	return out
}

// failed says whether the init did not come to its end: by what the platform
// says of it, or because the process ended before its handler was loaded.
func (in *initState) failed(p *initprofile.Profile) bool {
	if in.Status != "" && in.Status != lifecycle.Success {
		return true
	}
	_, loaded := p.Mark(initprofile.FactHandlerEnd)
	return in.Status == "" && !loaded
}

// packageTimes lists the packages, two folders of one version as one.
func packageTimes(tree *initprofile.Tree) []lifecycle.PackageTime {
	var out []lifecycle.PackageTime
	other := lifecycle.PackageTime{Name: lifecycle.PackageOther}
	for _, u := range tree.Usages() {
		t := lifecycle.PackageTime{
			Name: packageName(u.Code), Version: cut(u.Version), Origin: string(u.Origin), Self: u.Self, Modules: u.Modules,
		}
		same := slices.IndexFunc(out, func(o lifecycle.PackageTime) bool {
			return o.Name == t.Name && o.Version == t.Version && o.Origin == t.Origin
		})
		switch {
		case u.Modules == 0: // all of it was late
		case same >= 0:
			out[same].Self += t.Self
			out[same].Modules += t.Modules
		case len(out) < maxPackages && t.Self >= minPackage:
			out = append(out, t)
		default:
			other.Self += t.Self
			other.Modules += t.Modules
		}
	}
	slices.SortStableFunc(out, func(a, b lifecycle.PackageTime) int { return cmp.Compare(b.Self, a.Self) })
	if other.Modules > 0 {
		out = append(out, other)
	}
	return out
}

// packageSpans lists what is worth a span.
func packageSpans(tree *initprofile.Tree, floor time.Duration) []lifecycle.PackageSpan {
	shown, modules, left := tree.Show(floor, maxPackageSpans)
	var out []lifecycle.PackageSpan
	start := tree.Ended()
	for _, s := range shown {
		span := lifecycle.PackageSpan{
			PackageTime: lifecycle.PackageTime{
				Name: packageName(s.Code), Version: cut(s.Version), Origin: string(s.Origin), Self: s.Self, Modules: int64(s.Modules),
			},
			Parent: s.Parent, Start: tree.Origin.Add(s.Start), Total: s.Total,
			ImportedBy: cut(strings.Join(tree.Chain(s.Entry), " > ")),
		}
		start = min(start, s.Start)
		out = append(out, span)
	}
	if modules > 0 {
		out = append(out, lifecycle.PackageSpan{
			PackageTime: lifecycle.PackageTime{Name: lifecycle.PackageOther, Self: left, Modules: int64(modules)},
			Parent:      -1, Start: tree.Origin.Add(start), Total: left,
		})
	}
	return out
}

func packageName(c *initprofile.Code) string {
	switch {
	case c.Own():
		return lifecycle.PackageOwn
	case c.Name == "":
		return lifecycle.PackageLayer
	}
	return cut(c.Name)
}

// cut bounds an attribute; of a chain the end says more.
func cut(s string) string {
	const most = 256
	if len(s) > most {
		s = strings.ToValidUTF8("…"+s[len(s)-most:], "")
	}
	return s
}

// parts splits runtime and function by when the runtime began to load the
// handler. It returns nothing where the profile does not tell, or tells what
// cannot be.
func (f *initProfile) parts(from, to time.Time) []lifecycle.Part {
	if f == nil || f.handler.Before(from) || f.handler.After(to) {
		return nil
	}
	return []lifecycle.Part{
		{Name: lifecycle.PartRuntime, Start: from, Duration: f.handler.Sub(from), Basis: lifecycle.Measured},
		{Name: lifecycle.PartFunction, Start: f.handler, Duration: to.Sub(f.handler), Basis: lifecycle.Measured},
	}
}

// setTreeBytes reads THAW_PROFILE_TREE.
func setTreeBytes(c *config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 128<<10 {
		return errors.New("not a number of bytes from 0 to 131072")
	}
	c.treeBytes = n
	return nil
}

// setProfile reads THAW_PROFILE, which the hooks read too.
func setProfile(c *config, value string) error {
	switch value {
	case "on", "deep":
		c.profileOff = false
	case "off":
		c.profileOff = true
	default:
		return errors.New("not on, off or deep; on is used")
	}
	return nil
}
