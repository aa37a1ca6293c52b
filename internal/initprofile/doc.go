// Package initprofile reads what a hook in the runtime wrote about an init:
// which modules were loaded, by whom, and when.
//
// A hook appends lines to a file (layer/HOOKS.md is the format). [Parse] reads
// it as the claim of a stranger: whatever is torn, too long, too much or
// nonsense is passed over and counted. What can be derived is derived here and
// not in the function:
//
//	wire.go      Parse and Encode: lines to a [Profile] and back
//	locate.go    from a path to a package and an [Origin]
//	resolve.go   the versions of packages, from the files beside them
//	tree.go      [Tree]: self and total time, chains of imports, what was open
//	groups.go    the same by package
//	compact.go   a profile that fits into a span: the same wire, gzip'd
//
// The extension reads the file and resolves the versions, because only it sees
// the function's files. From there the profile travels as the same wire, with
// a k line for every package, and the report derives the tree again by the same
// code. Exports for other tools are in package export.
package initprofile
