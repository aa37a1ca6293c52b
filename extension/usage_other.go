//go:build !linux

package extension

// newUsageSource returns nil: there is no /proc here.
func newUsageSource(func(string) string) usageSource { return nil }
