package lifecycle

import "time"

// Parts of a billed duration, besides those of a run.
const (
	PartInit              PartName = "init"
	PartRun               PartName = "run"
	PartExtensionOverhead PartName = "extension overhead"
)

// BilledParts lays out what an invocation is billed for. The parts add up to
// the billed duration, the last of them being what nothing explains: the
// rounding up to a millisecond, and the platform's own work. It is nil where
// nothing is billed by duration, as on managed instances, and where the
// platform's report is not known.
//
// Of a run that was answered the parts are those of the run, else the run is
// one. The report of a suppressed init contains it; that of an on-demand cold
// start does not, but the bill does.
func (i *Invocation) BilledParts() []Part {
	r := i.Report
	if r == nil || !r.Received || r.Billed == 0 {
		return nil
	}
	var parts []Part
	start := i.Start
	add := func(name PartName, d time.Duration) {
		if d > 0 {
			parts = append(parts, Part{Name: name, Start: start, Duration: d, Basis: Measured})
			start = start.Add(d)
		}
	}
	switch {
	case r.BilledRestore > 0:
		start = start.Add(-r.BilledRestore)
		add(PartRestore, r.BilledRestore)
	case r.Init > 0:
		start = start.Add(-r.Init)
		add(PartInit, r.Init)
	case i.Init != nil && i.Init.Phase == PhaseInvoke:
		start = i.Init.Start
		add(PartInit, i.Init.Duration)
	}
	if i.Run != nil && len(i.Run.Parts) > 0 {
		for _, p := range i.Run.Parts {
			add(p.Name, p.Duration)
		}
	} else if i.Run != nil {
		add(PartRun, i.Run.Duration)
	}
	add(PartExtensionOverhead, r.ExtensionOverhead)
	first := i.Start
	if len(parts) > 0 {
		first = parts[0].Start
	}
	return FillParts(first, r.Billed, parts)
}

// unattributed is the part of the bill that nothing explains, and whether there
// is a bill.
func (i *Invocation) unattributed() (time.Duration, bool) {
	parts := i.BilledParts()
	if parts == nil {
		return 0, false
	}
	if last := parts[len(parts)-1]; last.Name == PartUnattributed {
		return last.Duration, true
	}
	return 0, true
}
