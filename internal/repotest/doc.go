// Package repotest holds the rules of this repository as tests: what may import
// what, that every package explains itself, that the documents agree with the
// code. It contains nothing but tests.
//
// Run with -update to rewrite the documents that are generated from the code.
package repotest
