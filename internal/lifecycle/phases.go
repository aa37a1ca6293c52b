package lifecycle

// What only some kinds and phases have.
const (
	AttrInitGap         = "thaw.init.gap_ms"
	AttrFailedExtension = "thaw.init.failed_extension"
	AttrSuspected       = "thaw.suspected"
	AttrBilledRestore   = "thaw.report.billed_restore_duration_ms"
	AttrUnattributed    = "thaw.report.unattributed_ms"
)

// Suspicion is a cause that the platform does not tell.
type Suspicion string

// Suspicions. A handled exception is a success for the platform, and all that it
// shows is a response without a byte. A function that uses up its memory is
// sometimes reported as timed out, or as killed by somebody.
const (
	SuspectHandledError Suspicion = "handled-error"
	SuspectOutOfMemory  Suspicion = "out-of-memory"
)

// Suspect says what the outcome of an invocation suggests, in an environment of
// the given memory size.
func (i *Invocation) Suspect(memoryMB int64) Suspicion {
	switch {
	case i.Status == Success && i.Run != nil && i.Run.ProducedBytes == 0:
		return SuspectHandledError
	case i.Status != "" && i.Status != Success && i.ErrorType != "Runtime.OutOfMemory" &&
		i.Report != nil && memoryMB > 0 && i.Report.MaxMemoryUsedMB >= memoryMB:
		return SuspectOutOfMemory
	}
	return ""
}

func phaseAttributes() []Attribute {
	return []Attribute{
		{AttrInitGap, "init", "double", "ms", "end of the init until the platform.start of the first invocation that it served"},
		{AttrFailedExtension, "init", "string", "", "name of the extension that made the init fail, where it is known"},
		{AttrSuspected, "invocation, report", "string", "", "not told by the platform: handled-error (a success without a byte of response), out-of-memory (another failure at the memory limit)"},
		{AttrBilledRestore, "invocation, report", "double", "ms", "share of the restore that is billed (SnapStart)"},
		{AttrUnattributed, "invocation, report", "double", "ms", "billed duration less init or restore, run and extension overhead: rounding, and what nothing explains. Not on managed instances, which are not billed by duration"},
	}
}
