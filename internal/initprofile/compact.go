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
// It returns nil where nothing fits.
func (p *Profile) Pack(limit int) []byte {
	out := p
	for floor := 50 * time.Microsecond; floor < maxTime; floor *= 4 {
		packed := out.zip()
		if len(packed) <= limit {
			return packed
		}
		out = out.prune(floor)
	}
	return nil
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

// keep appends siblings, the small ones of one package as one.
func (p *Profile) keep(siblings []*Node, parent int, floor time.Duration) {
	type rest struct {
		record Record
		count  int
		total  time.Duration
	}
	var order []*Code
	small := map[*Code]*rest{}
	for _, n := range siblings {
		if n.Total >= floor || n.Open || n.Threw {
			rec := *n.Record
			rec.Parent = parent
			// The record of an open module was closed for the tree.
			p.Records = append(p.Records, rec)
			p.keep(n.Children, rec.ID, floor)
			continue
		}
		s := small[n.Code]
		if s == nil {
			s = &rest{record: *n.Record}
			s.record.Parent, s.record.CPU, s.record.Bytes = parent, -1, 0
			small[n.Code] = s
			order = append(order, n.Code)
		}
		walk([]*Node{n}, func(n *Node) { s.count += 1 + n.More; s.record.Bytes += n.Bytes })
		s.total += n.Total
	}
	for _, c := range order {
		s := small[c]
		s.record.More = s.count - 1
		s.record.End = s.record.Start + s.total
		p.Records = append(p.Records, s.record)
	}
}
