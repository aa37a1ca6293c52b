package initprofile

import (
	"cmp"
	"slices"
	"time"
)

// Usage is what a package took of an init.
type Usage struct {
	*Code
	// Self sums the self times of its modules. Total is that and what they
	// load of other packages: totals of packages overlap, selves do not.
	Self, Total time.Duration
	Modules     int64
	Bytes       int64
	// Importer loaded its most expensive entry, which is Entry; both are nil
	// where only a hook's totals are left.
	Importer, Entry *Node
	// Late is what the first invocation loaded of it; it is in none of the
	// others.
	Late        time.Duration
	LateModules int64
}

// Usages sums up by package, the largest self time first.
func (t *Tree) Usages() []*Usage {
	by := map[*Code]*Usage{}
	of := func(c *Code) *Usage {
		if by[c] == nil {
			by[c] = &Usage{Code: c}
		}
		return by[c]
	}
	t.Walk(func(n *Node) {
		u := of(n.Code)
		u.Self += n.Self
		u.Modules += 1 + int64(n.More)
		u.Bytes += n.Bytes
		if outermost(n) {
			u.Total += n.Total
			if u.Entry == nil || n.Total > u.Entry.Total {
				u.Entry, u.Importer = n, n.Parent
			}
		}
	})
	t.WalkLate(func(n *Node) {
		u := of(n.Code)
		u.Late += n.Self
		u.LateModules += 1 + int64(n.More)
	})
	t.addTotals(by)
	out := make([]*Usage, 0, len(by))
	for _, u := range by {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b *Usage) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Root, b.Root))
	})
	return out
}

// addTotals adds what a hook kept only as totals to the package of that name.
func (t *Tree) addTotals(by map[*Code]*Usage) {
	byName := map[string]*Usage{}
	for c, u := range by {
		if o := byName[c.Name]; c.Name != "" && (o == nil || u.Self > o.Self) {
			byName[c.Name] = u
		}
	}
	for _, p := range t.Totals {
		u := byName[p.Name]
		if u == nil {
			origin := FromFunction
			if p.Kind == Builtin {
				origin = FromBuiltin
			}
			c := &Code{Name: p.Name, Origin: origin}
			u = &Usage{Code: c}
			by[c], byName[p.Name] = u, u
		}
		u.Self += p.Self
		u.Total += p.Self
		u.Modules += p.Count
		u.Bytes += p.Bytes
	}
}

// outermost says whether no importer of n is of the same package.
func outermost(n *Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Code == n.Code {
			return false
		}
	}
	return true
}

// Group is a package within the package that loaded it: the tree of modules
// with everything of one package drawn together. What the function's own code
// loads stands beside it, not below it, since all of the init is below it.
type Group struct {
	*Code
	Self, Total time.Duration
	Start       time.Duration
	Modules     int
	Open        bool
	Entry       *Node
	Children    []*Group
}

// Groups returns the packages that the function loads, the largest first.
func (t *Tree) Groups() []*Group {
	root := &Group{}
	for _, n := range t.Roots {
		root.take(root, n)
	}
	root.finish()
	return root.Children
}

// take adds n to the tree below g, the group of its importer; top is the
// outermost.
func (g *Group) take(top *Group, n *Node) {
	var into *Group
	switch {
	case g.Code == n.Code:
		into = g
	case n.Code.Own():
		into = top.child(n)
	default:
		into = g.child(n)
	}
	into.Self += n.Self
	into.Modules += 1 + n.More
	into.Open = into.Open || n.Open
	if into.Entry == nil || n.Start < into.Start {
		into.Start = n.Start
	}
	if into.Entry == nil || n.Total > into.Entry.Total {
		into.Entry = n
	}
	next := into
	if n.Code.Own() {
		next = top
	}
	for _, c := range n.Children {
		next.take(top, c)
	}
}

func (g *Group) child(n *Node) *Group {
	for _, c := range g.Children {
		if c.Code == n.Code {
			return c
		}
	}
	c := &Group{Code: n.Code}
	g.Children = append(g.Children, c)
	return c
}

func (g *Group) finish() {
	g.Total = g.Self
	for _, c := range g.Children {
		c.finish()
		g.Total += c.Total
	}
	slices.SortStableFunc(g.Children, func(a, b *Group) int { return cmp.Compare(b.Total, a.Total) })
}

// Shown is a group that is shown as a span, with its depth-first place.
type Shown struct {
	*Group
	// Parent is the index of the group that it is shown below, -1 for none.
	Parent int
}

// Show picks what is worth showing: groups of at least floor, at most limit,
// the most expensive ones. Left are the modules and the time of the rest.
func (t *Tree) Show(floor time.Duration, limit int) (shown []Shown, leftModules int, left time.Duration) {
	groups := t.Groups()
	var all []*Group
	var list func([]*Group)
	list = func(groups []*Group) {
		for _, g := range groups {
			if g.Total >= floor {
				all = append(all, g)
				list(g.Children)
			}
		}
	}
	list(groups)
	slices.SortStableFunc(all, func(a, b *Group) int { return cmp.Compare(b.Total, a.Total) })
	picked := map[*Group]bool{}
	for _, g := range all[:min(limit, len(all))] {
		picked[g] = true
	}
	var place func([]*Group, int)
	place = func(groups []*Group, parent int) {
		for _, g := range groups {
			if !picked[g] {
				if parent < 0 { // below a shown one its total includes it
					leftModules += g.count()
					left += g.Total
				}
				continue
			}
			shown = append(shown, Shown{g, parent})
			place(g.Children, len(shown)-1)
		}
	}
	place(groups, -1)
	for _, p := range t.Totals {
		leftModules += int(p.Count)
		left += p.Self
	}
	return shown, leftModules, left
}

func (g *Group) count() int {
	n := g.Modules
	for _, c := range g.Children {
		n += c.count()
	}
	return n
}
