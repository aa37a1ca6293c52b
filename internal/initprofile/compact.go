package initprofile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"
)

// Pack returns the profile as gzip'd wire of at most limit bytes. What is too
// large loses its smallest modules: those of one importer and one package are
// drawn together into one record, so that the times of packages stay right.
// Whole says that nothing was lost. It returns nil where nothing fits.
func (p *Profile) Pack(limit int) (packed []byte, whole bool) {
	out := p
	for floor := 50 * time.Microsecond; floor < maxTime; floor *= 4 {
		if packed = out.zip(); len(packed) <= limit {
			return packed, out == p
		}
		out = out.prune(floor)
	}
	return nil, false
}

func (p *Profile) zip() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level exists
	_, _ = p.WriteTo(z)                             // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// Unpack reads what Pack made. A gzip that holds more than a file may is cut.
func Unpack(packed []byte) (*Profile, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack an init profile: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, MaxBytes))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("unpack an init profile: %w", err)
	}
	return Parse(data)
}

// prune returns p with subtrees below floor drawn together.
func (p *Profile) prune(floor time.Duration) *Profile {
	out := *p
	out.Facts = map[string]string{FactTruncated: "1"}
	for name, value := range p.Facts {
		if name != FactTruncated {
			out.Facts[name] = value
		}
	}
	out.Records, out.Coverage = nil, nil
	t := p.Tree()
	for _, list := range [][]*Node{t.Roots, t.Late} {
		out.keep(list, 0, floor)
	}
	// Coverage is per file: that of files that are gone says nothing.
	paths := map[string]bool{}
	used := map[string]bool{}
	for i := range out.Records {
		paths[out.Records[i].Path] = true
	}
	for _, c := range p.Coverage {
		if paths[c.Path] {
			out.Coverage = append(out.Coverage, c)
		}
	}
	t = out.Tree()
	for _, c := range t.Codes {
		used[c.Root] = true
	}
	out.Packages = nil
	for _, k := range p.Packages {
		if used[k.Root] {
			out.Packages = append(out.Packages, k)
		}
	}
	return &out
}

// keep appends siblings: the small ones of one package as one, and those of
// packages that are small even so as one of all of them.
func (p *Profile) keep(siblings []*Node, parent int, floor time.Duration) {
	var order []*Code
	small := map[*Code]*Record{}
	for _, n := range siblings {
		if n.Total >= floor || n.Open || n.Threw {
			rec := *n.Record
			rec.Parent = parent
			p.Records = append(p.Records, rec)
			p.keep(n.Children, rec.ID, floor)
			continue
		}
		s := small[n.Code]
		if s == nil {
			s = drawn(n, parent)
			small[n.Code] = s
			order = append(order, n.Code)
		}
		walk([]*Node{n}, func(n *Node) { s.More += 1 + n.More; s.Bytes += n.Bytes })
		s.End += n.Total
	}
	var rest *Record
	for _, c := range order {
		s := small[c]
		if len(order) == 1 || s.End-s.Start >= floor {
			s.More--
			p.Records = append(p.Records, *s)
			continue
		}
		if rest == nil {
			rest = &Record{ID: s.ID, Parent: parent, Kind: Other, Start: s.Start, End: s.Start, Late: s.Late, CPU: -1, Name: OtherName}
		}
		rest.More += s.More
		rest.Bytes += s.Bytes
		rest.End += s.End - s.Start
	}
	if rest != nil {
		rest.More--
		p.Records = append(p.Records, *rest)
	}
}

// drawn begins a record of several, which lasts as long as they do together.
func drawn(n *Node, parent int) *Record {
	rec := *n.Record
	rec.Parent, rec.CPU, rec.Bytes, rec.End, rec.More = parent, -1, 0, rec.Start, 0
	return &rec
}

// Simplify returns p with at most limit records: the smallest modules are drawn
// together, as Pack does.
func (p *Profile) Simplify(limit int) *Profile {
	out := p
	for floor := 50 * time.Microsecond; len(out.Records) > limit && floor < maxTime; floor *= 2 {
		out = out.prune(floor)
	}
	return out
}
