package environment

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// processTree returns every living descendant of a process, without itself.
func processTree(pid int) []int {
	var all []int
	todo := []int{pid}
	for len(todo) > 0 {
		next := children(todo[0])
		todo = append(todo[1:], next...)
		all = append(all, next...)
	}
	return all
}

// children returns the direct children of all threads of a process; nil once
// it has ended. A pattern would have every thread's whole folder listed, and
// this is asked for with each invocation.
func children(pid int) []int {
	folder := "/proc/" + strconv.Itoa(pid) + "/task"
	task, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer func() { _ = task.Close() }() // it was only read
	threads, _ := task.Readdirnames(-1) // those that were read before an error count
	var all []int
	for _, thread := range threads {
		text, err := os.ReadFile(folder + "/" + thread + "/children")
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// measure adds up the memory of the processes. A process that has just ended
// counts as nothing.
func measure(pids []int) memoryUse {
	var sum memoryUse
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			continue
		}
		for line := range bytes.Lines(status) {
			name, value, _ := bytes.Cut(line, []byte(":"))
			switch string(name) {
			case "RssAnon", "RssShmem", "VmSwap":
				sum.Own += kilobytes(value)
				if string(name) != "VmSwap" {
					sum.Resident += kilobytes(value)
				}
			case "RssFile":
				sum.Resident += kilobytes(value)
			case "VmHWM":
				sum.Peak += kilobytes(value)
			}
		}
	}
	return sum
}

func kilobytes(value []byte) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(value)), " kB"), 10, 64)
	return n
}

// ownsSocket reports whether one of the processes holds the socket.
func ownsSocket(pids []int, inode uint32) bool {
	want := "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]"
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if name, err := os.Readlink(dir + fd.Name()); err == nil && name == want {
				return true
			}
		}
	}
	return false
}
