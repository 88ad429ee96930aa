package pgserver

import "syscall"

// endWithThread makes the kernel shut the process down when the thread that
// starts it ends, which it does with this process however that ends.
func endWithThread(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
