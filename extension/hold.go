package extension

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

const (
	// holdSilence is how long nothing at all may be heard of an invocation. The
	// platform tells of its start within 25 ms.
	holdSilence = 100 * time.Millisecond
	// holdPatience is how long a run is waited for when none is known that was
	// longer. It matters where the end of a run is never told, which the
	// platform may do to a function that logs too much.
	holdPatience = 2 * time.Second
)

// hold keeps the platform from freezing the environment until the invocation
// that has just arrived has run and has been sent, if the policy has a budget
// for that. It does so by not returning: as long as we do not call next, the
// invocation is not over. While the function runs that costs nothing, so only
// what lies after the end of the run is added.
func (l *life) hold(ev lambdaapi.NextEvent) {
	if l.sender == nil || l.flusher.policy == flushNext {
		return
	}
	arrived := time.Now()
	t, ok := l.recorder.load(arrived)
	deadline := time.UnixMilli(ev.DeadlineMs).Add(-holdMargin)
	if !ok || !deadline.After(arrived) {
		return
	}
	budget := l.flusher.budget(t)
	if budget == 0 {
		return
	}
	end, told := l.awaitRun(ev.RequestID, arrived, deadline)
	switch now := time.Now(); {
	case !told && end.started:
		l.flusher.gaveUp = now // the run is a long one; or its end was lost, which will show
		return
	case !told:
		// Something is amiss with the telemetry. What we added is not known, and
		// is taken to be all.
		l.flusher.waited(now, min(holdBudget, now.Sub(arrived)), false)
		return
	}
	if end.failed { // a SHUTDOWN waits for us, which has a time of its own
		return
	}
	until := end.at.Add(budget)
	if until.After(deadline) {
		until = deadline
	}
	l.recorder.release(true)
	sent := l.await(until, func() bool { return l.recorder.drained() || l.recorder.inTrouble() })
	l.recorder.release(false)
	now := time.Now()
	l.flusher.waited(now, now.Sub(end.at), sent && !l.recorder.inTrouble())
}

// awaitRun waits for the end of a run.
func (l *life) awaitRun(requestID string, arrived, deadline time.Time) (run, bool) {
	dropped := l.recorder.run(requestID).dropped
	patience := arrived.Add(max(holdPatience, 2*l.recorder.longestRun()))
	if patience.After(deadline) {
		patience = deadline
	}
	var now run
	ended := func() bool {
		now = l.recorder.run(requestID)
		return now.done || now.dropped != dropped
	}
	silence := arrived.Add(holdSilence)
	if silence.After(patience) {
		silence = patience
	}
	if !l.await(silence, func() bool { return ended() || now.started }) {
		return now, false
	}
	l.await(patience, ended)
	return now, now.done
}

// await waits until what is told makes f true, or until it is over.
func (l *life) await(until time.Time, f func() bool) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for !f() {
		select {
		case <-l.recorder.told:
		case <-timer.C:
			return f()
		}
	}
	return true
}
