package predicteval

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"
)

// The CPU time of an invocation as the extension sees it from outside, against
// what the function's process says itself. At the size of a whole CPU and at a
// small one, where the extension and the function compete.
func TestUsageAccuracy(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"go/compute", "python/compute"} {
		for _, size := range []int{256, 1769} {
			load := find(name)
			w.deploy(t, load, size)
			truth := map[string]float64{}
			var before string
			var used float64
			for range 20 {
				id, payload := w.invoke(t, load, size)
				var answer struct {
					CPUMS float64 `json:"cpu_ms"`
				}
				if err := json.Unmarshal(payload, &answer); err != nil {
					t.Fatal(err)
				}
				if before != "" {
					truth[before] = answer.CPUMS - used
				}
				before, used = id, answer.CPUMS
				time.Sleep(25 * time.Millisecond)
			}
			if err := w.lambda.Recycle(t.Context(), load.function(), strconv.Itoa(size)); err != nil {
				t.Fatal(err)
			}
			var errs, abs []float64
			for id, want := range truth {
				inv := w.receiver.report(id, 2*time.Second)
				if inv == nil {
					t.Errorf("request %s was not told of", id)
					continue
				}
				r, ok := requestOf(load, size, inv)
				if !ok {
					continue // the cold one
				}
				errs = append(errs, (r.C-want)/want)
				abs = append(abs, math.Abs(r.C-want)/want)
			}
			t.Logf("%s at %d MB: n = %d, median error %+.1f %%, median absolute error %.1f %%, 90th percentile %.1f %%",
				name, size, len(errs), 100*quantile(errs, .5), 100*quantile(abs, .5), 100*quantile(abs, .9))
			// What one invocation has too much the next has too little: a machine
			// that is busy with other things spreads the errors, and must not shift them.
			if len(abs) < 16 || math.Abs(quantile(errs, .5)) > .03 || quantile(abs, .5) > .10 {
				t.Errorf("%s at %d MB: the CPU time is off by %+.1f %%, %.1f %% without sign, in the median of %d", name, size, 100*quantile(errs, .5), 100*quantile(abs, .5), len(abs))
			}
		}
	}
}
