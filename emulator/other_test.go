//go:build !linux

package emulator

import "errors"

// runSubprocess is for tests of the janitor, which there is none of here.
func runSubprocess(string) error { return errors.ErrUnsupported }
