package extension

import (
	"crypto/rand"
	"io"
	"time"

	"github.com/thaw-lambda/thaw/internal/spool"
)

const (
	// spoolBurst and spoolRate bound how fast the log is written to, in bytes
	// and in bytes a second, so that a dead backend does not fill the log of a
	// busy function. What a shutdown leaves is bounded by the queue and is
	// written at once.
	spoolBurst = 256 << 10
	spoolRate  = 8 << 10
	// spoolReserve is the share of all that is kept for the shutdown: one half.
	spoolReserve = 2
)

// spooler writes what cannot be delivered into the function's log; see package
// spool. It belongs to the sender.
type spooler struct {
	out io.Writer
	// max is how many bytes may be written in all; 0 switches it off.
	max int

	source  string
	records int
	written int
	tokens  int
	refill  time.Time
}

// write writes one record. It says whether there was room for it.
func (s *spooler) write(now time.Time, compressed []byte, last bool) bool {
	if s == nil || s.max == 0 {
		return false
	}
	if s.source == "" {
		// Drawn late: a number from before a snapshot is everybody's.
		s.source = rand.Text()
		s.tokens, s.refill = spoolBurst, now
	}
	lines := spool.AppendRecord(nil, s.source, s.records, compressed)
	if !s.room(now, len(lines), last) {
		return false
	}
	if _, err := s.out.Write(lines); err != nil {
		return false
	}
	s.written += len(lines)
	s.records++
	return true
}

func (s *spooler) room(now time.Time, n int, last bool) bool {
	if last {
		return s.written+n <= s.max
	}
	if since := now.Sub(s.refill); since > 0 {
		s.tokens = int(min(int64(s.tokens)+int64(min(since, time.Hour).Seconds()*spoolRate), spoolBurst))
		s.refill = now
	}
	if s.written+n > s.max/spoolReserve || n > s.tokens {
		return false
	}
	s.tokens -= n
	return true
}

// end says how many records there are.
func (s *spooler) end() {
	if s != nil && s.records > 0 {
		_, _ = s.out.Write(spool.AppendEnd(nil, s.source, s.records)) // nobody is left who could be told
	}
}
