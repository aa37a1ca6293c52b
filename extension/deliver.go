package extension

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

const (
	backoffMin         = time.Second
	backoffMax         = time.Minute
	backoffMinShutdown = 50 * time.Millisecond
	// enoughSpans, or log lines, are sent without waiting for the batch delay.
	enoughSpans = 256
	// maxAttempts is how often one batch is tried: a backend that takes others
	// may have something against this one.
	maxAttempts = 12
)

// sender sends what the recorder has queued. It has one batch in its hands at
// a time, which it keeps until a backend has taken or refused it, and what it
// has to give up it writes to the log.
type sender struct {
	log      zerolog.Logger
	rec      *recorder
	exporter *exporter
	spool    *spooler
	delay    time.Duration

	flying   *batch
	flight   chan outcome // of the attempt under way, nil if there is none
	launched int64        // invocations at its beginning
	attempts int          // at the batch in hand

	failures  int // since the last success
	notBefore time.Time
	// tuned is whether the heap has its limit.
	tuned bool
	// complained is whether the present trouble is in the log.
	complained bool
}

// gcPercent trades a little CPU for memory, which is the function's.
const gcPercent = 50

// tune limits the heap, which is that of a few invocations: left to itself it
// would grow to 4 MB before it is collected for the first time. It stops the
// world and collects, so it is done after the first export and not in the init.
func (s *sender) tune() {
	if !s.tuned {
		s.tuned = true
		debug.SetGCPercent(gcPercent)
	}
}

// run sends until stop is closed. Cancelling ctx breaks off an attempt. One that
// is under way then is left to finish.
func (s *sender) run(ctx context.Context, stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.rescue(false)
		wait, ok := s.due(s.rec.now())
		if ok && wait <= 0 {
			s.launch(ctx)
			ok = false
		}
		if !ok {
			wait = backoffMax // nothing to do: one of the channels will say
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-s.rec.changed:
		case out := <-s.flight:
			s.land(out)
			s.tune()
		case <-timer.C:
		}
	}
}

// due says whether there is something to be sent, and how long to wait before.
// Nothing is begun unless an invocation runs, because the environment may be
// frozen otherwise, or is waited for by [life.hold].
func (s *sender) due(now time.Time) (time.Duration, bool) {
	v := s.rec.view()
	if s.flight != nil || s.flying == nil && v.waiting == 0 || !v.running && !v.released {
		return 0, false
	}
	at := s.notBefore
	if s.flying == nil && v.waiting < enoughSpans && !v.released {
		at = later(at, v.oldest.Add(s.delay))
	}
	// A clock that was set back must not make anything wait for hours.
	return min(at.Sub(now), maxRetryAfter), true
}

// launch begins an attempt to send one batch. It says whether there is one.
func (s *sender) launch(ctx context.Context) bool {
	if s.flying == nil {
		if s.flying = s.rec.next(); s.flying == nil {
			return false
		}
		s.attempts = 0
	}
	body, err := s.exporter.body(s.flying)
	if err != nil {
		s.complain().Err(err).Msg("a batch cannot be encoded")
		s.giveUp(false)
		return false
	}
	s.attempts++
	s.launched = s.rec.view().invokes
	b, flight := s.flying, make(chan outcome, 1)
	s.flight = flight
	go func() {
		out := outcome{err: errPanicked}
		defer func() {
			if p := recover(); p != nil {
				logPanic(s.log, "sending", p)
			}
			flight <- out
		}()
		out = s.exporter.send(ctx, b, body)
	}()
	return true
}

// land draws the consequences of an attempt. It says whether the batch is
// settled, taken or given up, and if not how long the backend asked us to wait.
func (s *sender) land(out outcome) (settled bool, after time.Duration) {
	s.flight = nil
	if out.err == nil {
		s.taken(out)
		return true, 0
	}
	s.failures++
	frozen := s.rec.view().invokes != s.launched
	switch {
	case !out.retry:
		s.complain().Err(out.err).Int64("spans", s.flying.spans).Int64("log_lines", s.flying.logLines).
			Msg("the endpoint refused an export: check its address and the headers")
		s.giveUp(false)
		settled = true
	case s.attempts >= maxAttempts:
		s.giveUp(false)
		settled = true
	case s.failures == 1 && out.after == 0 && frozen:
		// A freeze lies between, which may well be all that was wrong.
		s.rec.exportFailed(false)
		return false, 0
	case !out.broken:
		s.complain().Err(out.err).Msg("an export failed; it will be tried again")
	}
	s.notBefore = s.rec.now().Add(max(out.after, backoff(s.failures)))
	s.rec.exportFailed(true)
	return settled, out.after
}

// attempt makes one attempt, or waits for the one that is under way.
func (s *sender) attempt(ctx context.Context) (settled bool, after time.Duration) {
	if s.flight == nil && !s.launch(ctx) {
		return true, 0
	}
	return s.land(<-s.flight)
}

func (s *sender) taken(out outcome) {
	s.rec.sent(s.flying, out.rejected, out.size)
	rejected := map[bool]string{true: "log_lines", false: "spans"}[s.flying.logLines > 0]
	s.flying, s.failures, s.notBefore, s.complained = nil, 0, time.Time{}, false
	if out.rejected > 0 {
		s.complain().Int64(rejected, out.rejected).Str("reason", out.message).Msg("the endpoint rejected a part of an export")
	}
}

// giveUp writes the batch in hand to the log.
func (s *sender) giveUp(last bool) {
	b := s.flying
	s.flying = nil
	s.rec.gaveUp(b, s.write(b, last))
}

// write writes a batch to the log, if that has room for it.
func (s *sender) write(b *batch, last bool) bool {
	if s.spool == nil || b.logLines > 0 { // log lines are in the log
		return false
	}
	compressed, err := s.exporter.compressed(b)
	return err == nil && s.spool.write(s.rec.now(), compressed, last)
}

// rescue writes to the log what the queue had no room for.
func (s *sender) rescue(last bool) {
	for b := s.rec.evicted(); b != nil; b = s.rec.evicted() {
		s.rec.gaveUp(b, s.write(b, last))
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

// finish sends everything that is left, until ctx is over, and writes the rest
// to the log.
func (s *sender) finish(ctx context.Context) {
	s.rescue(true)
	pause := backoffMinShutdown
	for ctx.Err() == nil && (s.flying != nil || s.rec.view().waiting > 0) {
		settled, after := s.attempt(ctx)
		if settled && s.failures == 0 {
			continue
		}
		if !sleep(ctx, max(pause, after)) {
			break
		}
		pause *= 2
	}
	s.ground()
	for s.flying != nil {
		s.giveUp(true)
		s.flying = s.rec.next()
	}
}

// ground waits for an attempt that is under way, whose context is over.
func (s *sender) ground() {
	if s.flight != nil {
		s.land(<-s.flight)
	}
	if s.flying == nil {
		s.flying = s.rec.next()
	}
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
