// Package e2e holds the tests that run everything together: the built binaries
// and the packed layer from bin/, real functions in the local Lambda, a real
// collector, and what the local Lambda's ledger says really happened.
//
// They measure functions under CPU limits, so they run one after the other and
// beside nothing else (see .ci/test). Run `make build` first.
package e2e
