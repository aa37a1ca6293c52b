package extension

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

const (
	backoffMin         = time.Second
	backoffMax         = time.Minute
	backoffMinShutdown = 50 * time.Millisecond
	// enoughSpans are sent without waiting for the batch delay.
	enoughSpans = 256
)

// sender sends what the recorder has queued. It has one batch in its hands at
// a time, which it keeps until a backend has taken or refused it.
type sender struct {
	log      zerolog.Logger
	rec      *recorder
	exporter *exporter
	delay    time.Duration

	flying    *batch
	failures  int // since the last success
	notBefore time.Time
	// complained is whether the present trouble is in the log.
	complained bool
}

// run sends until stop is closed. Cancelling ctx breaks off an attempt.
func (s *sender) run(ctx context.Context, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, ok := s.due(s.rec.now())
		if ok && wait <= 0 {
			s.attempt(ctx)
			wait = 0 // look at the queue again, after stop
		}
		if !ok {
			wait = backoffMax // nothing to do: rec.changed will say
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-s.rec.changed:
		case <-timer.C:
		}
	}
}

// due says whether there is something to be sent, and how long to wait before.
// It is the flush policy: with "next", nothing is begun unless an invocation
// runs, because the environment may be frozen otherwise.
func (s *sender) due(now time.Time) (time.Duration, bool) {
	v := s.rec.view()
	if !v.running || s.flying == nil && v.spans == 0 {
		return 0, false
	}
	at := s.notBefore
	if s.flying == nil && v.spans < enoughSpans {
		at = later(at, v.oldest.Add(s.delay))
	}
	// A clock that was set back must not make anything wait for hours.
	return min(at.Sub(now), maxRetryAfter), true
}

// attempt makes one attempt to send one batch. It says whether the batch is
// settled, taken or refused, and if not how long the backend asked us to wait.
func (s *sender) attempt(ctx context.Context) (settled bool, after time.Duration) {
	if s.flying == nil {
		if s.flying = s.rec.next(); s.flying == nil {
			return true, 0
		}
	}
	before := s.rec.view().invokes
	out := s.exporter.send(ctx, s.flying.payload)
	if out.err == nil {
		s.taken(out)
		return true, 0
	}
	s.rec.exportFailed()
	s.failures++
	switch {
	case !out.retry:
		s.complain().Err(out.err).Int64("spans", s.flying.spans).
			Msg("the endpoint refused an export: check its address and the headers")
		s.rec.refused(s.flying)
		s.flying = nil
		return true, 0
	case s.failures == 1 && out.after == 0 && s.rec.view().invokes != before:
		// A freeze lies between, which may well be all that was wrong.
		return false, 0
	case ctx.Err() == nil:
		s.complain().Err(out.err).Msg("an export failed; it will be tried again")
	}
	s.notBefore = s.rec.now().Add(max(out.after, backoff(s.failures)))
	return false, out.after
}

func (s *sender) taken(out outcome) {
	s.rec.sent(s.flying, out.rejected, out.size)
	s.flying, s.failures, s.notBefore, s.complained = nil, 0, time.Time{}, false
	if out.rejected > 0 {
		s.complain().Int64("spans", out.rejected).Str("reason", out.message).Msg("the endpoint rejected spans")
	}
}

// complain logs the first failure since a success: a backend that is down must
// not fill the user's log.
func (s *sender) complain() *zerolog.Event {
	if s.complained {
		return nil // an event that writes nothing
	}
	s.complained = true
	return s.log.Warn()
}

func backoff(failures int) time.Duration {
	return min(backoffMin<<min(failures-1, 10), backoffMax)
}

// finish sends everything that is left, until ctx is over.
func (s *sender) finish(ctx context.Context) {
	pause := backoffMinShutdown
	for ctx.Err() == nil && (s.flying != nil || s.rec.view().spans > 0) {
		settled, after := s.attempt(ctx)
		if settled {
			continue
		}
		if !sleep(ctx, max(pause, after)) {
			return
		}
		pause *= 2
	}
}

// left counts the spans in hand that were never acknowledged.
func (s *sender) left() int64 {
	if s.flying == nil {
		return 0
	}
	return s.flying.spans
}

// sleep waits for d, or returns false when ctx is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
