package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
)

// lambda is what of the emulator the work needs.
type lambda interface {
	Invoke(ctx context.Context, name, qualifier string, payload []byte) (emulator.InvokeResult, error)
	Recycle(ctx context.Context, name, qualifier string) error
}

// work runs all jobs, as many at once as their CPU quotas fit into the cores,
// in their order except that one that fits goes before one that has to wait.
// One core in four is left to the emulator, the collector and the inits, which
// run at full speed: a curve that was measured on an overloaded machine would
// show the machine.
func work(ctx context.Context, l lambda, jobs []job, cores int, done *progress) error {
	room := 0.75 * float64(cores)
	ended := make(chan result)
	pending, running := slices.Clone(jobs), 0
	var errs []error
	for len(pending) > 0 || running > 0 {
		next := slices.IndexFunc(pending, func(j job) bool { return j.cores <= room || running == 0 })
		if next >= 0 && ctx.Err() == nil {
			j := pending[next]
			pending = slices.Delete(pending, next, next+1)
			room -= j.cores
			running++
			go func() { ended <- result{j, j.run(ctx, l, done)} }()
			continue
		}
		if running == 0 {
			break // interrupted
		}
		r := <-ended
		room += r.cores
		running--
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s at %d MB: %w", r.name, r.memoryMB, r.err))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// result is how a job ended.
type result struct {
	job
	err error
}

// run takes the job through its rounds. Each begins with no environment left,
// so that its first invocation is cold.
func (j *job) run(ctx context.Context, l lambda, done *progress) error {
	for range j.rounds {
		if err := l.Recycle(ctx, j.name, j.version); err != nil {
			return fmt.Errorf("recycle: %w", err)
		}
		for i := range 1 + j.warm {
			for s, step := range j.steps {
				if err := j.invoke(ctx, l, step); err != nil {
					return err
				}
				done.add(i == 0 && s == 0)
			}
			if err := idle(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *job) invoke(ctx context.Context, l lambda, s step) error {
	result, err := l.Invoke(ctx, j.name, j.version, s.event)
	if err != nil {
		return fmt.Errorf("invoke: %w", err)
	}
	failed := result.FunctionError != ""
	if failed != s.fails {
		return fmt.Errorf("invoked with %s it answered %q (error %q), expected failure: %t", s.event, cut(result.Payload), result.FunctionError, s.fails)
	}
	return nil
}

// idle leaves a gap of more than one CFS period between invocations, at a
// random phase: that is how requests come, and how a quota refills.
func idle(ctx context.Context) error {
	gap := 25*time.Millisecond + time.Duration(rand.Int64N(int64(20*time.Millisecond)))
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func cut(b []byte) string {
	const most = 300
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}
