// Package extension is what runs inside a Lambda execution environment: it
// follows the init, the invocations and the shutdown of the environment, and
// sends them as OTLP traces.
//
// # Its life
//
// [Run] registers before anything else, because Lambda starts the runtime only
// when every extension has registered. Everything that follows overlaps with
// the start of the runtime: read the settings ([Settings]), listen, subscribe
// to the Telemetry API, parse the certificate roots if the endpoint is https,
// and call next for the first time, which says that our init is over.
//
// Three parts then work side by side, each with one owner:
//
//   - the loop over next (run.go, lambda.go) learns of invocations and of the
//     shutdown;
//   - the listener (listener.go, telemetry.go) receives what the platform
//     tells about them, often late and sometimes twice;
//   - the sender (deliver.go, export.go) posts what is ready.
//
// They meet in the recorder (record.go), which holds the state machine
// (state.go, init.go, invocation.go) and the queue (queue.go) behind one lock.
// The state machine does no I/O and has no clock: it is tested with recorded
// events alone.
//
// # Why nothing is added after the response
//
// An invocation is over, and the environment is frozen, when the runtime and
// every extension have called next. The end of the run is known to us only
// from platform.runtimeDone, which arrives up to 25 ms after it (the shortest
// buffering that Lambda offers): an extension that waits for that event
// prolongs every invocation by as much, and that is billed. So the loop calls
// next again as soon as it has an INVOKE, while the function is still running:
// by the time the runtime is done we have long been, and the platform waits
// for the runtime alone. A call of next that blocks keeps nobody else from
// working: telemetry is received and exports are made in the background for
// as long as the invocation runs, on whatever CPU the function leaves.
//
// The price is that the environment may freeze at any moment:
//
//   - What has not arrived by then arrives after the next thaw. The platform's
//     report of an invocation is always of that kind, because it is written
//     once everybody is done. An invocation is therefore sent during the next
//     one, or at the shutdown.
//   - An export may be frozen half way. It is begun only while an invocation
//     is believed to run, and one that a freeze has broken is made again. That
//     is safe because span ids are derived from what they describe: a batch
//     that arrives twice is recognised as such. The time of a freeze does not
//     count for its timeout (patience.go): the answer has often been there all
//     along.
//
// # Flush policies
//
// What is above is the policy "next". The others wait after some of the runs
// until the invocation itself has been sent (hold.go), for a budget that
// policy.go decides about: "end" after each, "interval" after one per interval,
// and "adaptive", the default, after cold starts and in sparse traffic, where
// what waits for the next invocation waits long, while all that waiting is less
// than 1 % of what is billed. The budget is 100 ms, and never within 100 ms of
// the function's timeout. A backend that does not answer in time costs one
// budget; then a breaker keeps anything from waiting for a minute, and after the
// next miss for two, and so on. One that fails costs none until an export in
// the background has succeeded again.
//
// # Nothing is lost in silence
//
// The queue, its memory, the attempts at a batch and their time have bounds.
// What falls out of them, and what a shutdown cannot deliver, is written to the
// function's log as docs/spool.md describes, within bounds of its own, and is
// read back by thaw import. What is lost for good is counted on the next report
// and on the shutdown's span.
//
// # Kinds of environments
//
// What differs between them is in the state machine, in a few places each:
//
//   - Provisioned concurrency: no request ever waits for the init, however soon
//     the first comes after it.
//   - SnapStart: a restore is what a request waits for. The init before the
//     snapshot is nobody's cold start, although its events may come again, with
//     their old times, in every environment that is restored from it; and the
//     environment's id is not the one that they name.
//   - Managed instances: only SHUTDOWN can be registered for, so invocations are
//     known from telemetry alone; there are several at once; nothing is frozen,
//     so what is ready is sent at any time; there is no platform.runtimeDone and
//     no bill by duration.
//
// Without telemetry invocations are known from INVOKE and SHUTDOWN alone: when
// they began, that they were, and how the last one ended if that was the reason
// of the shutdown.
//
// # Failing open
//
// Nothing here may fail, block or slow the function. Lambda takes an extension
// that exits for a crash of the environment, whatever its exit code, so Run
// returns only after a SHUTDOWN, or when it does not run in Lambda at all. Each
// thing that is off is told in one line of the log. Panics are caught at the
// top of each goroutine, and the loop over next goes on.
//
// A registration that fails leaves only bad choices: Lambda waits for us until
// the init times out, or we exit, which is Extension.Crash at once. We retry
// what may pass (a refused connection, a 5xx), ask for fewer events where the
// events were refused, and then block: if the platform does not count us (as
// emulators that start us by hand do not) the function runs undisturbed, and
// if it does, nothing we could do would save the init.
package extension
