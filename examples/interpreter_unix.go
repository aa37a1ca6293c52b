//go:build unix

package examples

import (
	"os"
	"syscall"
)

// asNobody makes a command of root's run as a user without any rights.
func asNobody() *syscall.SysProcAttr {
	const nobody = 65534
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
