package goinit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
)

// Build is what the linker wrote into a binary, and its size.
type Build struct {
	*debug.BuildInfo
	Size int64
}

const (
	buildAlign  = 16
	buildHeader = 32
	// buildInline says that the strings follow the header: Go 1.18 and later.
	buildInline = 2
	// maxBuild bounds the strings, and maxBinary what is searched: no function
	// is larger.
	maxBuild  = 1 << 20
	maxBinary = 256 << 20
	chunk     = 1 << 20
)

// ReadBuild reads it from a file, which may be a stranger's.
//
// The standard library's debug/buildinfo does the same by way of the sections of
// ELF, Mach-O and PE, and would make the extension 5 % larger. Here the bytes
// are searched for the mark, which is what that package did before.
func ReadBuild(path string) (Build, error) {
	// Not waiting for anybody: a FIFO can have that name too.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Build{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Build{}, err
	}
	if !info.Mode().IsRegular() {
		return Build{}, fmt.Errorf("%s is not a regular file", path)
	}
	build, err := readBuild(file, min(info.Size(), maxBinary))
	if err != nil {
		return Build{}, fmt.Errorf("read Go's build information from %s: %w", path, err)
	}
	return Build{build, info.Size()}, nil
}

func readBuild(file io.ReaderAt, size int64) (*debug.BuildInfo, error) {
	magic := []byte("\xff Go buildinf:")
	buf := make([]byte, chunk)
	for base := int64(0); base < size; base += chunk {
		n, err := file.ReadAt(buf, base)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for at := 0; at < n; at += buildAlign {
			next := bytes.Index(buf[at:n], magic)
			if next < 0 {
				break
			}
			at += next
			if at%buildAlign != 0 {
				at -= at % buildAlign
				continue
			}
			// The same bytes are in programs that search for them, as this one.
			if build, err := parseBuild(file, base+int64(at)); err == nil {
				return build, nil
			}
		}
	}
	return nil, errors.New("there is none")
}

// parseBuild reads the header and the two strings behind it.
func parseBuild(file io.ReaderAt, at int64) (*debug.BuildInfo, error) {
	data, err := io.ReadAll(io.NewSectionReader(file, at, maxBuild))
	if err != nil {
		return nil, err
	}
	if len(data) < buildHeader || data[15]&buildInline == 0 {
		return nil, errors.New("built by a Go before 1.18")
	}
	version, rest, ok := inlineString(data[buildHeader:])
	if !ok {
		return nil, errors.New("no version")
	}
	modules, _, ok := inlineString(rest)
	const mark = 16 // before and after the modules
	if !ok || len(modules) < 2*mark {
		modules = nil // built without modules
	} else {
		modules = modules[mark : len(modules)-mark]
	}
	build, err := debug.ParseBuildInfo(string(modules))
	if err != nil {
		return nil, err
	}
	build.GoVersion = string(version)
	return build, nil
}

func inlineString(data []byte) (s, rest []byte, ok bool) {
	n, width := binary.Uvarint(data)
	if width <= 0 || n > uint64(len(data)-width) {
		return nil, nil, false
	}
	return data[width : width+int(n)], data[width+int(n):], true
}
