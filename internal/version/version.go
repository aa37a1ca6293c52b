// Package version knows which Thaw this is. It links into the extension and so
// depends on nothing.
package version

// number is the version in CHANGELOG.md; a test holds them together. Release
// builds may replace it with -ldflags -X.
var number = "0.1.0"

// String returns the version, such as 0.1.0.
func String() string { return number }
