//go:build !unix

package examples

import "syscall"

// asNobody changes nothing: there is no such user.
func asNobody() *syscall.SysProcAttr { return nil }
