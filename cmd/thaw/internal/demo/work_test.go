package demo

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thaw-lambda/thaw/emulator"
)

// busy is a Lambda in which an invocation takes some time, and that knows how
// many cores were in use at once.
type busy struct {
	cores map[string]float64
	took  time.Duration
	fails string

	mu            sync.Mutex
	now, most     float64
	invoked, cold int
}

func (b *busy) Recycle(context.Context, string, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cold++
	return nil
}

func (b *busy) Invoke(ctx context.Context, name, _ string, _ []byte) (emulator.InvokeResult, error) {
	b.use(b.cores[name])
	defer b.use(-b.cores[name])
	select {
	case <-time.After(b.took):
	case <-ctx.Done():
		return emulator.InvokeResult{}, ctx.Err()
	}
	result := emulator.InvokeResult{}
	if name == b.fails {
		result.FunctionError = "Unhandled"
	}
	return result, nil
}

func (b *busy) use(cores float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now += cores
	b.most = max(b.most, b.now)
	if cores > 0 {
		b.invoked++
	}
}

func testJobs() []job {
	steps := []step{{event: []byte("{}")}}
	return []job{
		{name: "slow", cores: 0.25, rounds: 10, warm: 5, steps: steps},
		{name: "large", cores: 1.7, rounds: 2, warm: 2, steps: steps},
		{name: "core", cores: 1, rounds: 3, warm: 2, steps: steps},
		{name: "small", cores: 0.25, rounds: 3, warm: 2, steps: steps},
	}
}

func newBusy() *busy {
	b := &busy{cores: map[string]float64{}, took: 100 * time.Millisecond}
	for _, j := range testJobs() {
		b.cores[j.name] = j.cores
	}
	return b
}

// Everything runs, never more at once than fits, except alone.
func TestWorkKeepsWithinTheCores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy()
		jobs := testJobs()
		if err := work(t.Context(), b, jobs, 2, newProgress(io.Discard, false, invocations(jobs))); err != nil {
			t.Fatal(err)
		}
		if want := invocations(jobs); b.invoked != want || b.cold != 18 {
			t.Errorf("%d invocations and %d recycles, want %d and 18", b.invoked, b.cold, want)
		}
		if b.most > 1.7 {
			t.Errorf("%.2f cores were in use at once", b.most)
		}
	})
}

func TestWorkSaysWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy()
		b.fails = "core"
		jobs := testJobs()
		err := work(t.Context(), b, jobs, 2, newProgress(io.Discard, false, invocations(jobs)))
		if err == nil {
			t.Fatal("a function that fails unexpectedly is no error")
		}
		t.Log(err)
	})
}

// An interruption ends the jobs that run and begins no other.
func TestWorkIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusy()
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		jobs := testJobs()
		if err := work(ctx, b, jobs, 2, newProgress(io.Discard, false, invocations(jobs))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("interrupted: %v", err)
		}
		if b.invoked >= invocations(jobs) {
			t.Error("everything ran although it was interrupted")
		}
	})
}
