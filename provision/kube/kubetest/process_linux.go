package kubetest

import "syscall"

// dieWithParent makes the kernel kill the program when the test binary dies without cleaning up, as after a test timeout.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
