package initprofile

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Code is a package as a node's, with where it came from. Two versions, or two
// folders, of a package are two.
type Code struct {
	// Name is empty for code of no package: the function's own, or a layer's.
	Name, Version, Root string
	Origin              Origin
}

// Own says whether it is the function's own code.
func (c *Code) Own() bool { return c.Name == "" && c.Origin == FromFunction }

// Label names it for people.
func (c *Code) Label() string {
	switch {
	case c.Name != "" && c.Version != "":
		return c.Name + " " + c.Version
	case c.Name != "":
		return c.Name
	case c.Origin == FromFunction:
		return "the function's own code"
	}
	return "code of the " + string(c.Origin)
}

// Node is a module in the tree of who loaded whom.
type Node struct {
	*Record
	Code     *Code
	Parent   *Node
	Children []*Node
	// Self is the time between its start and its end in which none of its
	// children was being loaded, Total that and the totals of its children.
	Self, Total time.Duration
}

// Tree is a profile with what can be derived.
type Tree struct {
	*Profile
	// Roots are loaded by nobody that is known, Late those of the first
	// invocation.
	Roots, Late []*Node
	// Codes are the packages in order of first appearance.
	Codes []*Code

	roots roots
}

// Tree derives self and total times. What is open is taken to have ended at
// the last moment that the profile knows of.
func (p *Profile) Tree() *Tree { return p.TreeUntil(p.Ended()) }

// TreeUntil is Tree for an init that is known to have ended at that time.
func (p *Profile) TreeUntil(end time.Duration) *Tree {
	t := &Tree{Profile: p, roots: p.roots()}
	nodes := make([]Node, len(p.Records))
	byID := make(map[int]*Node, len(nodes))
	codes := t.codes()
	for i := range nodes {
		r := &p.Records[i]
		if r.Open {
			closed := *r
			closed.End = max(closed.Start, end)
			r = &closed
		}
		nodes[i] = Node{Record: r, Code: codes(r)}
		byID[r.ID] = &nodes[i]
	}
	for i := range nodes {
		n := &nodes[i]
		if parent := byID[n.Record.Parent]; parent != nil && parent != n && parent.Late == n.Late {
			n.Parent = parent
		}
	}
	cutCycles(nodes)
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.Parent != nil:
			n.Parent.Children = append(n.Parent.Children, n)
		case n.Late:
			t.Late = append(t.Late, n)
		default:
			t.Roots = append(t.Roots, n)
		}
	}
	for _, list := range [][]*Node{t.Roots, t.Late} {
		for _, n := range list {
			n.measure()
		}
	}
	return t
}

// cutCycles makes roots of nodes that are their own ancestors, which only a
// broken or hostile file has.
func cutCycles(nodes []Node) {
	const unseen, onPath, done = 0, 1, 2
	state := make(map[*Node]int, len(nodes))
	for i := range nodes {
		var chain []*Node
		n := &nodes[i]
		for n != nil && state[n] == unseen {
			state[n] = onPath
			chain = append(chain, n)
			n = n.Parent
		}
		if n != nil && state[n] == onPath {
			chain[len(chain)-1].Parent = nil
		}
		for _, n := range chain {
			state[n] = done
		}
	}
}

// measure sets self and total, from the leaves up.
func (n *Node) measure() {
	slices.SortStableFunc(n.Children, func(a, b *Node) int { return cmp.Compare(a.Start, b.Start) })
	n.Self = n.End - n.Start
	covered := n.Start
	var children time.Duration
	for _, c := range n.Children {
		c.measure()
		children += c.Total
		if c.More > 0 {
			// Drawn together, they lie somewhere in between their siblings.
			n.Self -= min(c.End-c.Start, n.Self)
			continue
		}
		// The part of the child's time that is within ours and not a
		// sibling's: an ES module may be evaluated after its importer was read.
		from, to := max(c.Start, covered), min(c.End, n.End)
		if to > from {
			n.Self -= min(to-from, n.Self)
			covered = to
		}
	}
	n.Total = n.Self + children
}

// codes returns a function that finds the package of a record.
func (t *Tree) codes() func(*Record) *Code {
	type key struct {
		name, version, root string
		origin              Origin
	}
	seen := map[key]*Code{}
	known := t.known()
	return func(r *Record) *Code {
		pl := t.roots.locate(t.Runtime, r)
		c := Code{Name: pl.name, Version: pl.version, Root: pl.root, Origin: pl.origin}
		if k, ok := known(pl.root, r); ok {
			c.Name, c.Version, c.Root = k.Name, k.Version, k.Root
		} else if pl.unsure {
			c.Name, c.Root = "", ""
		}
		k := key{c.Name, c.Version, c.Root, c.Origin}
		if seen[k] == nil {
			seen[k] = &c
			t.Codes = append(t.Codes, &c)
		}
		return seen[k]
	}
}

// known returns a function that finds the k line of a root, or the longest one
// that a record lies below where its path does not tell the root.
func (t *Tree) known() func(root string, r *Record) (Package, bool) {
	byRoot := make(map[string]Package, len(t.Packages))
	for _, k := range t.Packages {
		byRoot[k.Root] = k
	}
	return func(root string, r *Record) (Package, bool) {
		if k, ok := byRoot[root]; ok && root != "" {
			return k, true
		}
		if len(byRoot) == 0 || r.Kind != GoInit && r.Kind != Class && r.Kind != Assembly {
			return Package{}, false
		}
		for dir := cmp.Or(r.Path, r.Name); dir != "." && dir != "/" && dir != ""; dir = path.Dir(dir) {
			if k, ok := byRoot[dir]; ok {
				return k, true
			}
		}
		return Package{}, false
	}
}

// Label is the name of a module as people know it: its path below the
// function's folder, or what was asked for.
func (t *Tree) Label(n *Node) string {
	if n.More > 0 {
		return fmt.Sprintf("%s and %d small modules", t.label(n), n.More)
	}
	return t.label(n)
}

func (t *Tree) label(n *Node) string {
	file := strings.TrimPrefix(n.Path, "file://")
	if n.Kind == Class || n.Kind == GoInit || n.Kind == Assembly || file == "" {
		return cmp.Or(n.Name, file, "?")
	}
	if n.Kind == Python && n.Code.Name != "" {
		return cmp.Or(n.Name, file)
	}
	for _, root := range []string{t.roots.task, t.roots.opt} {
		if below(root, file) && file != root {
			rel := strings.TrimPrefix(file[len(root):], "/")
			if at := strings.LastIndex(rel, "node_modules/"); at >= 0 {
				rel = rel[at+len("node_modules/"):]
			}
			return rel
		}
	}
	if at := strings.LastIndex(file, nodeModules); at >= 0 {
		return file[at+len(nodeModules):]
	}
	return cmp.Or(file, n.Name)
}

// Chain is who imported n, the outermost first, n itself not included.
func (t *Tree) Chain(n *Node) []string {
	var out []string
	for p := n.Parent; p != nil; p = p.Parent {
		out = append(out, t.Label(p))
	}
	slices.Reverse(out)
	return out
}

// Walk calls f for every module of the init, importers before what they
// import.
func (t *Tree) Walk(f func(*Node)) { walk(t.Roots, f) }

// WalkLate calls f for every module that the first invocation loaded.
func (t *Tree) WalkLate(f func(*Node)) { walk(t.Late, f) }

func walk(nodes []*Node, f func(*Node)) {
	for _, n := range nodes {
		f(n)
		walk(n.Children, f)
	}
}

// Inside returns what was being loaded when the file was last written, the
// outermost first: for an init that did not succeed, where it was.
func (t *Tree) Inside() []*Node {
	var deepest *Node
	t.Walk(func(n *Node) {
		if n.Open && (deepest == nil || n.Start >= deepest.Start) {
			deepest = n
		}
	})
	var out []*Node
	for n := deepest; n != nil; n = n.Parent {
		out = append(out, n)
	}
	slices.Reverse(out)
	return out
}

// InsideText says in words what was being loaded, "" if nothing was.
func (t *Tree) InsideText() string {
	chain := t.Inside()
	if len(chain) == 0 {
		// What threw last is where it ended.
		var last *Node
		t.Walk(func(n *Node) {
			if n.Threw && (last == nil || n.Start >= last.Start) {
				last = n
			}
		})
		if last == nil {
			return ""
		}
		for n := last; n != nil; n = n.Parent {
			chain = append(chain, n)
		}
		slices.Reverse(chain)
	}
	const most = 6
	var names []string
	for _, n := range chain[max(0, len(chain)-most):] {
		names = append(names, t.Label(n))
	}
	return strings.Join(names, " > ")
}

// Sum is the time of everything loaded in the init.
func (t *Tree) Sum() time.Duration {
	var sum time.Duration
	for _, n := range t.Roots {
		sum += n.Total
	}
	for _, p := range t.Totals {
		sum += p.Self
	}
	return sum
}
