package lifecycle

// Cause says why an invocation started cold. An environment cannot know it: the
// collector settles it, when it has heard of the others.
type Cause string

// Causes, in order of precedence.
const (
	// CauseReset: the environment crashed, timed out or ran out of memory, and
	// was initialized again.
	CauseReset Cause = "reset"
	// CauseDeploy: a version or configuration that had no environment yet, of a
	// function that had others.
	CauseDeploy Cause = "deploy"
	// CauseFirst: no environment of the function had been seen before.
	CauseFirst Cause = "first"
	// CauseScaleOut: all environments were busy.
	CauseScaleOut Cause = "scale-out"
	// CauseExpired: all environments had been reclaimed.
	CauseExpired Cause = "expired"
	// CauseUnknown: none of the others can be shown.
	CauseUnknown Cause = "unknown"
)

// Causes returns them in order of precedence.
func Causes() []Cause {
	return []Cause{CauseReset, CauseDeploy, CauseFirst, CauseScaleOut, CauseExpired, CauseUnknown}
}
