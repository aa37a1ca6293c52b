// Package reliability holds the extension against every way in which a backend
// fails: its test runs the real extension in the local Lambda, with real
// functions that are busy, idle, crash or time out, and asserts what is added to
// them, what is delivered and what is in the log. `go test -update` writes what
// it measured to docs/reliability.md.
package reliability
