package coldstartconnector

import "errors"

// codeSettler codes what is not settled yet, and what is known of environments.
func codeSettler(c codec, s *state) {
	t := s.settler
	codeInt(c, &t.settled)
	codeInt(c, &t.swept)
	var pools []*pool
	for _, p := range t.pools {
		pools = append(pools, p)
	}
	codeSlice(c, &pools, 10, func(c codec, p **pool) {
		if c.reading() {
			*p = newPool(poolKey{})
		}
		codePool(c, *p)
		if c.reading() {
			t.insert(*p)
		}
	})
	codePending(c, s)
}

func codePool(c codec, p *pool) {
	k := &p.key
	for _, s := range []*string{&k.account, &k.region, &k.name, &k.version, &k.arch} {
		*s = c.str(*s)
	}
	codeInt(c, &k.memoryMB)
	codeBool(c, &p.appeared)
	codeInt(c, &p.credit)
	codeInt(c, &p.creditUntil)
	codeInt(c, &p.used)
	codeInt(c, &p.slots.n)
	codeSlice(c, &p.slots.taken.items, 2, func(c codec, t *takenSlot) {
		codeInt(c, &t.until)
		codeInt(c, &t.slot)
	})
	codeSlice(c, &p.slots.free.items, 1, codeInt)
	codeSlice(c, &p.busy.items, 1, codeInt)
	codeEnvironments(c, p)
}

// environmentRecord is an environment as it is written. What is ahead of it
// follows from what is pending.
type environmentRecord struct {
	id string
	environmentState
}

func codeEnvironments(c codec, p *pool) {
	var records []environmentRecord
	for id, e := range p.environments {
		records = append(records, environmentRecord{id, *e})
	}
	codeSlice(c, &records, 4, func(c codec, r *environmentRecord) {
		r.id = c.str(r.id)
		codeInt(c, &r.lastEnd)
		codeInt(c, &r.served)
		codeBool(c, &r.reset)
		if c.reading() {
			r.ahead = 0
			p.environments[r.id] = &r.environmentState
		}
	})
}

// codePending codes the moments; their function is an index.
func codePending(c codec, s *state) {
	type record struct {
		function uint64
		moment
	}
	var records []record
	if !c.reading() {
		index := make(map[*function]uint64, len(s.functions))
		for i, f := range s.functions {
			index[f] = uint64(i)
		}
		for _, m := range s.settler.pending.items {
			if i, ok := index[m.function]; ok {
				records = append(records, record{i, m})
			}
		}
	}
	codeSlice(c, &records, 10, func(c codec, r *record) {
		r.function = c.uint(r.function)
		codeInt(c, &r.at)
		codeInt(c, &r.until)
		codeInt(c, &r.run)
		r.environment = c.str(r.environment)
		r.kind = momentKind(c.uint(uint64(r.kind)))
		codeBool(c, &r.cold)
		codeBool(c, &r.reset)
		codeInt(c, &r.invocations)
		codeInt(c, &r.lifetime)
	})
	if !c.reading() || !c.ok() {
		return
	}
	for _, r := range records {
		if r.function >= uint64(len(s.functions)) || r.kind > gone {
			c.fail(errors.New("a moment belongs to no function"))
			return
		}
		r.moment.function = s.functions[r.function]
		s.settler.environment(s.settler.pool(r.moment.function), r.environment).ahead++
		s.settler.pending.push(r.moment)
	}
}
