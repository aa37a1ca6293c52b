package initprofile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path"
	"strconv"
	"strings"
)

// Files is the part of a file system that resolving needs. Names are absolute.
// Implementations must be bounded and must not follow a path out of where the
// function's files are: the paths are a stranger's.
type Files interface {
	// Read returns at most limit bytes of a regular file.
	Read(name string, limit int64) ([]byte, error)
	// List returns the names in a folder, at most limit.
	List(name string, limit int) ([]string, error)
	// Size returns the size of a regular file.
	Size(name string) (int64, error)
}

const (
	maxResolved = 512
	maxManifest = 256 << 10
	maxListed   = 4096
	maxChecked  = 256
)

// Resolve adds the packages of all records, with the versions that the files
// beside them state, and the facts that only they tell.
func (p *Profile) Resolve(files Files) {
	r := resolver{Profile: p, files: files, roots: p.roots(), dists: map[string]map[string]Package{}}
	done := map[string]bool{}
	for _, k := range p.Packages {
		done[k.Root] = true
	}
	for i := range p.Records {
		pl := r.roots.locate(p.Runtime, &p.Records[i])
		if pl.name == "" || pl.root == "" || pl.version != "" || done[pl.root] || len(done) >= maxResolved {
			continue
		}
		done[pl.root] = true
		if k, ok := r.resolve(p.Records[i].Kind, pl); ok {
			p.Packages = append(p.Packages, k)
		}
	}
	r.facts()
}

type resolver struct {
	*Profile
	files Files
	roots roots
	// dists are the distributions in a folder of Python packages, by the name
	// of what they install.
	dists map[string]map[string]Package
}

func (r *resolver) resolve(kind Kind, pl place) (Package, bool) {
	switch {
	case pl.origin == FromBuiltin:
		return Package{}, false
	case kind == Python || r.Runtime == "python":
		return r.python(pl)
	case kind == CJS || kind == ESM || kind == JSON || kind == Native:
		return r.node(pl)
	}
	return Package{}, false
}

func (r *resolver) node(pl place) (Package, bool) {
	if !strings.Contains(pl.root, nodeModules) {
		return Package{}, false
	}
	data, err := r.files.Read(pl.root+"/package.json", maxManifest)
	if err != nil {
		return Package{}, false
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(data, &manifest) != nil {
		return Package{}, false
	}
	return Package{pl.name, version(manifest.Version), pl.root}, true
}

// version keeps what looks like one: it becomes a label.
func version(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return s
}

func (r *resolver) python(pl place) (Package, bool) {
	base := path.Dir(pl.root)
	if r.dists[base] == nil {
		r.dists[base] = r.distributions(base)
	}
	k, ok := r.dists[base][normal(pl.name)]
	k.Root = pl.root
	return k, ok
}

var distInfo = lazily(`^([A-Za-z0-9._-]+?)-([0-9][^-]*)\.(?:dist|egg)-info$`)

// distributions reads which distribution installed which top-level module.
func (r *resolver) distributions(base string) map[string]Package {
	out := map[string]Package{}
	names, err := r.files.List(base, maxListed)
	if err != nil {
		return out
	}
	for _, name := range names {
		m := distInfo().FindStringSubmatch(name)
		if m == nil {
			continue
		}
		k := Package{Name: m[1], Version: version(m[2])}
		out[normal(m[1])] = k
		top, err := r.files.Read(base+"/"+name+"/top_level.txt", 4<<10)
		if err != nil {
			top = r.recorded(base + "/" + name + "/RECORD")
		}
		for scanner := bufio.NewScanner(bytes.NewReader(top)); scanner.Scan(); {
			if module := strings.TrimSpace(scanner.Text()); module != "" {
				if _, ok := out[normal(module)]; !ok {
					out[normal(module)] = k
				}
			}
		}
	}
	return out
}

// recorded returns the top-level modules in the first lines of a RECORD, one a
// line.
func (r *resolver) recorded(file string) []byte {
	data, err := r.files.Read(file, 16<<10)
	if err != nil {
		return nil
	}
	var out []byte
	for l := range bytes.Lines(data) {
		first, _, _ := bytes.Cut(l, []byte("/"))
		if bytes.ContainsAny(first, ",.") && !bytes.HasSuffix(bytes.SplitN(l, []byte(","), 2)[0], []byte(".py")) {
			continue // metadata, or a folder of data
		}
		first, _, _ = bytes.Cut(first, []byte("."))
		out = append(append(out, first...), '\n')
	}
	return out
}

var separators = lazily(`[-_.]+`)

// normal is a name as PEP 503 compares them.
func normal(name string) string { return strings.ToLower(separators().ReplaceAllString(name, "-")) }

// facts looks at the files of the function and its layers: is there bytecode,
// are there source maps? At most maxChecked of each, the first ones.
func (r *resolver) facts() {
	var checked, missing int
	var maps int64
	stems := map[string][]string{}
	for i := range r.Records {
		rec := &r.Records[i]
		if o := r.roots.origin(rec.Path); o != FromFunction && o != FromLayer {
			continue
		}
		switch {
		case rec.Kind == Python && strings.HasSuffix(rec.Path, ".py") && checked < maxChecked:
			checked++
			if !r.hasBytecode(rec.Path, stems) {
				missing++
			}
		case (rec.Kind == CJS || rec.Kind == ESM) && checked < maxChecked:
			checked++
			if size, err := r.files.Size(rec.Path + ".map"); err == nil {
				maps += size
			}
		}
	}
	if r.Runtime == "python" && checked > 0 {
		r.Facts[FactPycChecked], r.Facts[FactPycMissing] = strconv.Itoa(checked), strconv.Itoa(missing)
	}
	if maps > 0 {
		r.Facts[FactMapBytes] = strconv.FormatInt(maps, 10)
	}
}

func (r *resolver) hasBytecode(file string, listed map[string][]string) bool {
	dir := path.Dir(file) + "/__pycache__"
	names, ok := listed[dir]
	if !ok {
		names, _ = r.files.List(dir, maxListed)
		listed[dir] = names
	}
	prefix := strings.TrimSuffix(path.Base(file), ".py") + ".cpython-"
	want := r.cacheTag()
	for _, name := range names {
		if strings.HasPrefix(name, prefix+want) {
			return true
		}
	}
	return false
}

// cacheTag is the number in the names of bytecode files: 312 for 3.12.
func (r *resolver) cacheTag() string {
	parts := strings.SplitN(r.RuntimeVersion, ".", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + parts[1] + "."
}
