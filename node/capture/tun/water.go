//go:build linux

package tun

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// opening serialises openWater: strays tells a descriptor leaked by this call from others by it.
var opening sync.Mutex

// openWater opens the interface without super-packets, by water, and mends what that gives.
func openWater(kind uint16, name string) (*Device, error) {
	opening.Lock()
	defer opening.Unlock()

	// water opens without O_CLOEXEC. Holding ForkLock keeps every fork away until the flag is set:
	// "it is held for reading while creating new file descriptors [...] and marking them
	// close-on-exec" (package syscall, ForkLock).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	before := tunFDs()
	device := water.DeviceType(water.TUN)
	if kind == unix.IFF_TAP {
		device = water.TAP
	}
	ifce, err := water.New(water.Config{
		DeviceType:             device,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name},
	})
	if err != nil {
		// When the ioctl fails water forgets its descriptor, which a child could inherit.
		for fd := range tunFDs() {
			if !before[fd] {
				_ = unix.Close(fd)
			}
		}
		return nil, err
	}
	file, ok := ifce.ReadWriteCloser.(*os.File)
	if !ok {
		_ = ifce.Close()
		return nil, errors.New("water gave no file")
	}
	raw, err := file.SyscallConn()
	fd := -1
	if err == nil {
		if e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
			err = e
		}
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	_ = file.Close()
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	return newDevice(ifce.Name(), fd, false), nil
}

// tunFDs returns this process's descriptors of /dev/net/tun. It is empty if /proc is not there.
func tunFDs() map[int]bool {
	fds := make(map[int]bool)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fds
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == "/dev/net/tun" {
			fds[fd] = true
		}
	}
	return fds
}
