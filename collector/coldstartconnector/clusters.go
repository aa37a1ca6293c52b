package coldstartconnector

// Invocations of one environment are alike, so a mean over invocations is less
// certain than their number suggests. What its variance follows from are sums
// over clusters: one environment in one hour, with n values that add up to s.
// Those sums can be kept without the clusters, but for the ones that may still
// grow.

// quantity is what clusters are kept of.
type quantity uint8

const (
	warmDuration quantity = iota
	billedDuration
)

type cluster struct {
	n int64
	s float64
}

type clusterKey struct {
	function    *function
	environment string
	quantity    quantity
}

// clusterHoursKept is how long after its hour a cluster may grow: spans arrive
// an invocation or an idle period late. A later value begins a cluster of its
// own.
const clusterHoursKept = 3

type clusters struct {
	hours map[int64]map[clusterKey]cluster
	len   int
	// pruned is the hour of the last prune.
	pruned int64
}

func newClusters() *clusters {
	return &clusters{hours: map[int64]map[clusterKey]cluster{}}
}

// add adds a value to a cluster and returns what the cluster was before.
func (c *clusters) add(hour int64, key clusterKey, value float64) cluster {
	m := c.hours[hour]
	if m == nil {
		m = map[clusterKey]cluster{}
		c.hours[hour] = m
	}
	before := m[key]
	if before.n == 0 {
		c.len++
	}
	m[key] = cluster{before.n + 1, before.s + value}
	return before
}

// prune drops what is too old at the hour now, and whole hours, the oldest
// first, as long as there are more clusters than limit.
func (c *clusters) prune(now int64, limit int) {
	if now > c.pruned {
		c.pruned = now
		for hour := range c.hours {
			if hour < now-clusterHoursKept {
				c.drop(hour)
			}
		}
	}
	for c.len > limit {
		oldest := int64(1<<63 - 1)
		for hour := range c.hours {
			oldest = min(oldest, hour)
		}
		c.drop(oldest)
	}
}

func (c *clusters) drop(hour int64) {
	c.len -= len(c.hours[hour])
	delete(c.hours, hour)
}
