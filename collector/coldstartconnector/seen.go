package coldstartconnector

// seen remembers the ids of spans that have been counted, in the order of
// their arrival. It forgets the oldest: those beyond a number, and those older
// than a time.
type seen struct {
	ids map[uint64]struct{}
	// queue holds the ids in order; those before head are forgotten.
	queue []uint64
	head  int
	// hours counts the ids of the queue by hour of arrival, oldest first.
	hours []hourCount
}

type hourCount struct {
	hour int64
	n    uint64
}

func newSeen() *seen { return &seen{ids: map[uint64]struct{}{}} }

func (s *seen) len() int { return len(s.queue) - s.head }

// add reports whether id is new, and remembers it as of the hour.
func (s *seen) add(id uint64, hour int64) bool {
	if _, ok := s.ids[id]; ok {
		return false
	}
	s.ids[id] = struct{}{}
	s.queue = append(s.queue, id)
	if n := len(s.hours); n == 0 || s.hours[n-1].hour < hour {
		s.hours = append(s.hours, hourCount{hour: hour})
	}
	s.hours[len(s.hours)-1].n++
	return true
}

// forget drops what arrived before the hour, and the oldest beyond limit.
func (s *seen) forget(before int64, limit int) {
	for len(s.hours) > 0 && s.hours[0].hour < before {
		s.drop(s.hours[0].n)
	}
	if over := s.len() - limit; over > 0 {
		s.drop(uint64(over))
	}
}

func (s *seen) drop(n uint64) {
	for ; n > 0 && s.head < len(s.queue); n-- {
		delete(s.ids, s.queue[s.head])
		s.head++
		if s.hours[0].n--; s.hours[0].n == 0 {
			s.hours = s.hours[1:]
		}
	}
	// Compact when half is waste, so that each id is moved once on average.
	if s.head > 1024 && s.head > len(s.queue)/2 {
		s.compact()
	}
}

func (s *seen) compact() {
	s.queue = append(s.queue[:0], s.queue[s.head:]...)
	s.head = 0
}
