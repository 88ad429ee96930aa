// Package descendant kills the processes that a server started to run a
// function, as a host that runs out of memory does.
package descendant

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Kill sends SIGKILL to the processes below root that run the Lambda function
// of that name, and tells how many there were. No other process is looked
// for. It knows Linux's /proc only; elsewhere it finds none.
func Kill(root int, function string) (killed int) {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	want := []byte("\x00AWS_LAMBDA_FUNCTION_NAME=" + function + "\x00")
	for _, file := range environments {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), want) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || !descends(pid, root) {
			continue
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

// descends tells whether a process is below another.
func descends(pid, from int) bool {
	for pid > 1 && pid != from {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(string(fields[1])); err != nil {
			return false
		}
	}
	return pid == from
}
