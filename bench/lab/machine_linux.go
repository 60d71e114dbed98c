package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/bench"
)

// snapshot reads what the machine's processors have done.
func snapshot() (s bench.Snapshot, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	if s.Ticks, err = bench.ParseTicks(string(stat)); err != nil {
		return s, err
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		p, err := bench.ParseProcess(string(text))
		if err != nil {
			return s, err
		}
		s.Processes = append(s.Processes, p)
	}
	return s, nil
}

// describeMachine returns what this machine is, for the report.
func describeMachine() (m bench.Machine) {
	m.CPUs, m.CPU = runtime.NumCPU(), runtime.GOARCH
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int(uint64(info.Totalram) * uint64(info.Unit) >> 20)
	}
	for _, program := range []string{"iperf3", "ping"} {
		flag := "--version"
		if program == "ping" {
			flag = "-V"
		}
		out, err := exec.Command(program, flag).CombinedOutput()
		if first, _, _ := strings.Cut(string(out), "\n"); err == nil {
			m.Programs = append(m.Programs, first)
		}
	}
	return m
}

// forgetPeak has the kernel begin anew with a process's peak of resident memory: proc(5), clear_refs.
func forgetPeak(pid int) { _ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/clear_refs", []byte("5"), 0) }

// peak returns the most resident memory that a process had, in MiB, or zero if that is not known.
func peak(pid int) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				return 0
			}
			return kb / 1024
		}
	}
	return 0
}
