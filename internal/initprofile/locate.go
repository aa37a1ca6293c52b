package initprofile

import (
	"path"
	"regexp"
	"strings"
	"sync"
)

// Origin says where a module came from.
type Origin string

// Origins.
const (
	FromFunction Origin = "function"
	FromLayer    Origin = "layer"
	FromRuntime  Origin = "runtime"
	FromBuiltin  Origin = "built-in"
)

// place is where a module belongs, as far as its path tells.
type place struct {
	// name is that of the package, "" for code that is of none: the
	// function's own, if it is from there.
	name    string
	version string
	// root is the folder, or the file, of the package.
	root   string
	origin Origin
	// unsure: it is a package only if something besides the path says so.
	unsure bool
}

// roots are the folders by which origins are told apart.
type roots struct{ task, opt string }

func (p *Profile) roots() roots {
	r := roots{task: p.Facts[FactTaskRoot], opt: p.Facts[FactOptRoot]}
	if !path.IsAbs(r.task) {
		r.task = "/var/task"
	}
	if !path.IsAbs(r.opt) {
		r.opt = "/opt"
	}
	r.task, r.opt = path.Clean(r.task), path.Clean(r.opt)
	return r
}

func (r roots) origin(file string) Origin {
	switch {
	case file == "":
		return FromBuiltin
	case below(r.task, file):
		return FromFunction
	case below(r.opt, file):
		return FromLayer
	case strings.Contains(file, "/node_modules/") && !below("/var/runtime", file) && !below("/var/lang", file) && !below("/usr", file):
		return FromFunction // the task root was not told
	}
	return FromRuntime
}

func below(root, file string) bool {
	return file == root || strings.HasPrefix(file, root) && (root == "/" || file[len(root)] == '/')
}

// locate finds the place of a record by its path.
func (r roots) locate(runtime string, rec *Record) place {
	file := strings.TrimPrefix(rec.Path, "file://")
	pl := place{origin: r.origin(file)}
	switch {
	case rec.Kind == Other:
		pl.name, pl.origin = OtherName, FromFunction
		return pl
	case rec.Kind == Class:
		return pl.java(file, rec.Name)
	case rec.Kind == GoInit:
		return pl.golang(rec.Name)
	case rec.Kind == Assembly:
		return pl.assembly(file, rec.Name)
	case file == "" || rec.Kind == Builtin:
		pl.origin = FromBuiltin
		pl.name = rec.Name
		if rec.Kind == Python {
			pl.name, _, _ = strings.Cut(rec.Name, ".")
		}
		return pl
	case rec.Kind == Python || runtime == "python":
		return pl.python(r, file)
	case rec.Kind == Ruby || runtime == "ruby":
		return pl.ruby(file)
	}
	return pl.node(file)
}

// lazily compiles an expression when it is first used: every cold start waits
// for what the extension does before.
func lazily(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

const nodeModules = "/node_modules/"

// node finds npm's folder of a file: the last node_modules decides, because
// packages hold packages.
func (pl place) node(file string) place {
	at := strings.LastIndex(file, nodeModules)
	if at < 0 {
		if pl.origin == FromRuntime {
			pl.name, pl.root = "the Lambda runtime", path.Dir(file)
		}
		return pl
	}
	rest := strings.SplitN(file[at+len(nodeModules):], "/", 3)
	parts := 1
	if strings.HasPrefix(rest[0], "@") && len(rest) > 1 {
		parts = 2
	}
	pl.name = strings.Join(rest[:min(parts, len(rest))], "/")
	pl.root = file[:at] + nodeModules + pl.name
	return pl
}

// python finds the folder or file below the entry of sys.path that it came from.
func (pl place) python(r roots, file string) place {
	base := ""
	for _, packages := range []string{"/site-packages/", "/dist-packages/"} {
		if at := strings.LastIndex(file, packages); at >= 0 {
			base = file[:at+len(packages)-1]
		}
	}
	switch {
	case base != "":
	case pl.origin == FromLayer && below(r.opt+"/python", file):
		base = r.opt + "/python"
	case pl.origin == FromFunction:
		base, pl.unsure = r.task, true
	default:
		base = pythonLibrary(file)
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(file[len(base):], "/"), "/")
	pl.root = base + "/" + top
	pl.name, _, _ = strings.Cut(top, ".")
	if top == "lib-dynload" {
		pl.name, _, _ = strings.Cut(path.Base(file), ".")
	}
	return pl
}

var pythonLib = lazily(`^.*/(?:python3\.\d+|python3\d+\.zip)/`)

// pythonLibrary is the folder of the standard library that a file is in, or
// its own.
func pythonLibrary(file string) string {
	if m := pythonLib().FindString(file); m != "" {
		return strings.TrimSuffix(m, "/")
	}
	return path.Dir(file)
}

var gem = lazily(`^(.*/gems/)([A-Za-z0-9_.-]+?)-(\d[0-9A-Za-z.]*)/`)

// ruby reads name and version from the folder that RubyGems gives a gem.
func (pl place) ruby(file string) place {
	if m := gem().FindStringSubmatch(file); m != nil {
		pl.name, pl.version, pl.root = m[2], m[3], strings.TrimSuffix(m[0], "/")
		return pl
	}
	if pl.origin == FromRuntime {
		// The standard library: .../ruby/3.3.0/openssl/ssl.rb is of openssl.
		if at := rubyLib().FindStringIndex(file); at != nil {
			top, _, _ := strings.Cut(file[at[1]:], "/")
			pl.name, _, _ = strings.Cut(top, ".")
			pl.root = file[:at[1]] + top
		}
	}
	return pl
}

var rubyLib = lazily(`/ruby/(?:site_ruby/|vendor_ruby/)?(?:\d+\.\d+\.\d+/)?(?:[a-z0-9_]+-linux[a-z-]*/)?`)

var jar = lazily(`^(.+?)(?:-(\d[0-9A-Za-z.+_-]*))?\.jar$`)

// java takes the jar for the package, and the JDK's own classes by their Java
// package.
func (pl place) java(file, class string) place {
	if m := jar().FindStringSubmatch(path.Base(file)); m != nil {
		pl.name, pl.version, pl.root = m[1], m[2], file
		return pl
	}
	switch {
	case file == "" || strings.HasPrefix(file, "jrt:") || strings.Contains(file, "shared objects file") || !path.IsAbs(file):
		pl.origin = FromRuntime
		if i := strings.LastIndexByte(class, '.'); i > 0 {
			class = class[:i]
		}
		if parts := strings.Split(class, "."); len(parts) > 2 {
			class = strings.Join(parts[:2], ".")
		}
		pl.name = class
	}
	return pl
}

// golang guesses the module of a Go package; k lines know better.
func (pl place) golang(name string) place {
	pl.origin = FromFunction
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "main":
		return pl
	case !strings.Contains(first, "."):
		pl.name, pl.root, pl.origin = name, name, FromRuntime
		return pl
	}
	parts := strings.Split(name, "/")
	depth := 3
	if first != "github.com" && first != "gitlab.com" && first != "bitbucket.org" && first != "golang.org" {
		depth = 2
	}
	pl.name = strings.Join(parts[:min(depth, len(parts))], "/")
	pl.root = pl.name
	return pl
}

// assembly reads a .NET assembly's display name.
func (pl place) assembly(file, name string) place {
	name, attributes, _ := strings.Cut(name, ",")
	pl.name, pl.root = name, file
	if _, v, ok := strings.Cut(attributes, "Version="); ok {
		pl.version, _, _ = strings.Cut(v, ",")
	}
	if strings.HasPrefix(name, "System.") || name == "System" || strings.HasPrefix(name, "Microsoft.NETCore") {
		pl.origin = FromRuntime
	}
	return pl
}
