// Package examples lists small functions that do real work, each chosen for
// one behaviour that a cold start or a memory size changes, and makes
// directories of them that a Lambda, local or not, can run.
//
// The Go functions are built beforehand (make build) and looked for next to
// the running binary. The sources of the others are embedded, together with a
// small runtime client for each language; they need an interpreter that an
// unprivileged user can execute, see [FindInterpreter].
package examples

import (
	"embed"
	"slices"
	"time"
)

// sources are the functions that are not compiled, the runtime clients and the
// sample events.
//
//go:embed */event.json
//go:embed audit-log/index.js
//go:embed checkout/app.py
//go:embed invoice/build.js invoice/index.js invoice/package.json invoice/lib/taxes.js invoice/lib/templates.js
//go:embed runtime/node/bootstrap.cjs runtime/python/bootstrap.py
var sources embed.FS

// PriceAPIVariable is the environment variable in which the checkout example
// expects the URL of a running price service, see package priceapi.
const PriceAPIVariable = "PRICE_API_URL"

// Example is one function.
type Example struct {
	// Name is the function's name and that of its folder.
	Name string
	// Handler is what the runtime is told to call.
	Handler string
	// Interpreter is "node" or "python3", or empty for a binary.
	Interpreter string
	// Shows says in one clause what it is an example of.
	Shows string
	// MemoryMB are the sizes between which the choice matters, ascending. It
	// works with its event at each of them.
	MemoryMB []int
	// Timeout is enough for a cold start at the smallest of MemoryMB.
	Timeout time.Duration
	// Requires are environment variables that whoever runs it has to set.
	Requires []string
	// Event is a sample event.
	Event []byte

	// files are its sources in its folder, none for a binary.
	files []string
	// build is the one of them that generates what is too big to commit, or empty.
	build string
}

// All returns the examples, those with the clearest lesson first.
func All() []Example {
	all := list()
	for i := range all {
		// A test holds that each example has one.
		all[i].Event, _ = sources.ReadFile(all[i].Name + "/event.json")
	}
	return all
}

// Find returns the example of that name.
func Find(name string) (Example, bool) {
	all := All()
	i := slices.IndexFunc(all, func(e Example) bool { return e.Name == name })
	if i < 0 {
		return Example{}, false
	}
	return all[i], true
}

func list() []Example {
	return []Example{
		{
			Name:     "thumbnail",
			Handler:  "bootstrap",
			Shows:    "computes: memory buys CPU up to one vCPU, and nothing above",
			MemoryMB: []int{128, 256, 512, 1024, 1769, 3008},
			Timeout:  15 * time.Second,
		},
		{
			Name:        "checkout",
			Handler:     "app.handler",
			Interpreter: "python3",
			Shows:       "waits for a network service: more memory only costs more",
			MemoryMB:    []int{128, 256, 512, 1024},
			Timeout:     10 * time.Second,
			Requires:    []string{PriceAPIVariable},
			files:       []string{"app.py"},
		},
		{
			Name:        "invoice",
			Handler:     "index.handler",
			Interpreter: "node",
			Shows:       "loads far more at start than a request needs: a heavy init, with a barrel file",
			MemoryMB:    []int{256, 512, 1024, 1769},
			Timeout:     15 * time.Second,
			files:       []string{"build.js", "index.js", "package.json", "lib/taxes.js", "lib/templates.js"},
			build:       "build.js",
		},
		{
			Name:     "catalog-index",
			Handler:  "bootstrap",
			Shows:    "holds about 200 MB and builds it in its first invocation instead of in init",
			MemoryMB: []int{512, 1024, 1769},
			Timeout:  30 * time.Second,
		},
		{
			Name:        "audit-log",
			Handler:     "index.handler",
			Interpreter: "node",
			Shows:       "writes a line to its log for every record, 200 in an invocation",
			MemoryMB:    []int{128, 256, 512, 1024},
			Timeout:     10 * time.Second,
			files:       []string{"index.js"},
		},
		{
			Name:     "flaky",
			Handler:  "bootstrap",
			Shows:    "fails as its event says: error, panic, exit, timeout, oom",
			MemoryMB: []int{128},
			Timeout:  3 * time.Second,
		},
	}
}
