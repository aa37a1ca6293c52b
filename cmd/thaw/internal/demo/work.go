package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/thaw-lambda/thaw/emulator"
)

// lambda is what of the emulator the work needs.
type lambda interface {
	Invoke(ctx context.Context, name, qualifier string, payload []byte) (emulator.InvokeResult, error)
	Recycle(ctx context.Context, name, qualifier string) error
}

// work runs all jobs, as many at once as their CPU quotas fit into the cores.
// One core in four is left to the emulator, the collector and the inits, which
// run at full speed: a curve that was measured on an overloaded machine would
// show the machine.
func work(ctx context.Context, l lambda, jobs []job, cores int, done *progress) error {
	capacity := int64(float64(cores) * 750)
	room := semaphore.NewWeighted(capacity)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, j := range jobs {
		weight := min(int64(math.Ceil(j.cores*1000)), capacity)
		if err := room.Acquire(ctx, weight); err != nil {
			break // interrupted; the jobs that run see it too
		}
		wg.Go(func() {
			defer room.Release(weight)
			if err := j.run(ctx, l, done); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s at %d MB: %w", j.name, j.memoryMB, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
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
