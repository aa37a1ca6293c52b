package demo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/thaw-lambda/thaw/examples"
)

// job is one function at one memory size.
type job struct {
	name     string
	version  string
	memoryMB int
	timeout  time.Duration
	// rounds is the number of environments; each begins with a cold start and
	// serves warm further requests.
	rounds, warm int
	steps        []step
	// cores is the CPU it may use at once. An init runs at full speed, so
	// nothing counts as less than a fraction of a core.
	cores float64
}

// step is one request.
type step struct {
	event []byte
	fails bool
}

// effort says how much of an example the demo runs.
type effort struct {
	memoryMB     []int
	rounds, warm int
	steps        []step
	timeout      time.Duration
}

// plan lists the jobs of the examples, the slow ones first: the demo takes as
// long as its longest job.
func plan(list []examples.Example, quick bool) []job {
	var jobs []job
	for _, ex := range list {
		e := effortFor(ex, quick)
		for i, mb := range e.memoryMB {
			jobs = append(jobs, job{
				name:     ex.Name,
				version:  strconv.Itoa(i + 1),
				memoryMB: mb,
				timeout:  e.timeout,
				rounds:   e.rounds,
				warm:     e.warm,
				steps:    e.steps,
				cores:    max(float64(mb)/1769, 0.25),
			})
		}
	}
	return jobs
}

// effortFor aims at enough for a quantile (60 invocations at each size) and for
// an interval that knows that invocations of one environment are alike (10
// environments), unless it is to be quick.
func effortFor(ex examples.Example, quick bool) effort {
	e := effort{memoryMB: ex.MemoryMB, rounds: 12, warm: 5, timeout: ex.Timeout, steps: []step{{event: ex.Event}}}
	if quick {
		e.rounds, e.warm = 3, 4
		e.memoryMB = someSizes(ex)
	}
	if ex.Name == "flaky" {
		e.rounds, e.warm = 4, 0
		if quick {
			e.rounds = 1
		}
		e.steps = failures()
	}
	return e
}

// someSizes takes those sizes of an example that show its lesson.
func someSizes(ex examples.Example) []int {
	switch ex.Name {
	case "thumbnail":
		return []int{512, 1024, 1769}
	case "checkout":
		return []int{128, 512}
	}
	return ex.MemoryMB[:1]
}

// failures are one of each way to fail, with a success between two: a crash
// resets the environment, and the next invocation pays for a suppressed init.
func failures() []step {
	mode := func(name string, fails bool) step {
		return step{event: fmt.Appendf(nil, `{"mode":%q}`, name), fails: fails}
	}
	return []step{
		mode("ok", false), mode("error", true), mode("ok", false),
		mode("panic", true), mode("ok", false),
		mode("exit", true), mode("ok", false),
		mode("oom", true), mode("ok", false),
		mode("timeout", true), mode("ok", false),
	}
}

// invocations is how many the jobs make together.
func invocations(jobs []job) int {
	n := 0
	for _, j := range jobs {
		n += j.rounds * (1 + j.warm) * len(j.steps)
	}
	return n
}
