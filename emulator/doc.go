// Package emulator is a local Lambda: it runs real function processes and real
// extensions the way AWS Lambda does, on one machine, without an account.
//
// An [Emulator] listens like the Lambda service and answers the Invoke API, so
// that "aws lambda invoke --endpoint-url" and the AWS SDKs work unchanged. Its
// zero value serves:
//
//	var lambda emulator.Emulator
//	if err := lambda.Start(ctx); err != nil { ... }
//	defer lambda.Close()
//	err := lambda.AddFunction(emulator.Function{Name: "hello", Dir: "./build", MemoryMB: 512})
//	result, err := lambda.Invoke(ctx, "hello", "", []byte(`{}`))
//
// # From an invocation to a process
//
// The words are those of the design: a function has environments, an
// environment has inits and serves invocations one at a time.
//
//  1. [Emulator.Invoke] and the HTTP handler (invokeapi.go) make an invocation
//     and ask the function (function.go) for a free environment: the one that
//     became idle last, else a new one, else the answer is 429.
//  2. The environment (environment.go) initializes if it has to, delivers the
//     invocation, waits, reports, and freezes (serve.go), and some day ends
//     (shutdown.go).
//  3. What one init started is a boot (boot.go): the processes, who registered,
//     who subscribed, and the state machines of the Runtime API (runtimeapi.go),
//     the Extensions API (extensionsapi.go) and the Telemetry API
//     (telemetryapi.go, relay.go). A reset after a crash or a timeout ends the
//     boot; the environment, its id and its /tmp remain, and its next
//     invocation has to wait for a new boot (a suppressed init).
//  4. Processes (process.go) start through a helper, this same binary under
//     another name (sandbox_linux.go), that builds the root file system
//     (/opt, /tmp, /var/task), drops privileges and then waits for the word to
//     execute, so that none of this is in the measured init.
//  5. Limits (limits.go, cgroup_linux.go) are the CPU quota, the memory limit
//     and the freezer.
//
// The [Ledger] writes down what really happened. It is the truth that tests
// compare the extension, the collector and the report against.
//
// # What is faithful and what is not
//
// CPU is memory/1769 of a core in CFS periods of 20 ms, from the first
// invocation on; init has the full CPU. Memory is a limit for function and
// extensions together, whose out-of-memory kill is the function's alone
// (memory_linux.go says how). Everything is frozen between invocations, the delivery
// of telemetry included. [Emulator.Enforcement] says which of these the
// machine permits. Nothing fails because one is missing; but a measurement
// that depends on it is worthless, so ask.
//
// # Kinds of environments
//
// On-demand environments are made by requests that find none free, or by
// [Emulator.Preinitialize], as Lambda makes them of its own accord. Those of
// provisioned concurrency are made when the function is added; what they cannot
// serve goes to on-demand ones. On a managed instance one environment serves
// several invocations at once (managed.go).
//
// SnapStart is emulated up to the snapshot itself: a process cannot be copied
// here. A snapshot is an environment whose init has ended and that is frozen,
// and a restore thaws it, once, under a new identity; so each environment has
// had an init of its own, before and outside of any request. All that the
// function and its extensions can see of a restore is there: the old times of
// the init and what of it was not delivered yet, the new log stream, the events
// and calls of a restore, other credentials. What is not: state that several
// environments share because one init made it, and the time that it takes to
// load memory, so a restore takes as long as its hooks.
//
// [Faults] make the Telemetry API fail in the ways that others do.
//
// Known differences: credentials are placeholders, the network is the host's,
// asynchronous invocations are neither queued nor retried, and the time that the service
// itself needs to place a request is absent. A request that finds no idle
// environment, but one that has answered and is about to become free, waits
// for it ([Emulator.Patience]), because on one machine there is no network
// whose latency would have covered that moment.
//
// # When the emulator dies
//
// A janitor process (janitor_linux.go) holds a pipe to the emulator. When the
// emulator ends, even by SIGKILL, it thaws and kills what is left, and removes
// control groups and directories. [Emulator.Start] sweeps up after emulators
// whose janitor died as well.
package emulator
