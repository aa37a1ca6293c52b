package evidenceexporter

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/evidence"
)

// suffix of a file, before which its id stands.
const suffix = ".otlp.gz"

// files are the traces, one file each: gzip'd OTLP protobuf.
type files struct{ dir string }

func (f *files) open() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for evidence: %w", err)
	}
	return nil
}

// valid says whether id is one of ours: it becomes a file's name.
func valid(id string) bool {
	trace, span, ok := strings.Cut(id, "-")
	return ok && isHex(trace, 16) && isHex(span, 8)
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && strings.ToLower(s) == s
}

func (f *files) path(id string) string { return filepath.Join(f.dir, id+suffix) }

// list returns the ids of all files. Those that were left half written go.
func (f *files) list() []string {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		switch {
		case ok && valid(id):
			out = append(out, id)
		case strings.HasSuffix(e.Name(), ".tmp"):
			_ = os.Remove(filepath.Join(f.dir, e.Name()))
		}
	}
	return out
}

func (f *files) write(id string, td ptrace.Traces) (size int64, err error) {
	var m ptrace.ProtoMarshaler
	data, err := m.MarshalTraces(td)
	if err != nil {
		return 0, fmt.Errorf("write a trace: %w", err)
	}
	if len(data) > evidence.MaxTrace {
		return 0, fmt.Errorf("the trace has %d bytes, more than %d", len(data), evidence.MaxTrace)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	tmp := f.path(id) + ".tmp"
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return 0, fmt.Errorf("write a trace: %w", err)
	}
	if err := os.Rename(tmp, f.path(id)); err != nil {
		return 0, fmt.Errorf("write a trace: %w", err)
	}
	return onDisk(int64(b.Len())), nil
}

// onDisk is the space that a file takes: whole blocks.
func onDisk(size int64) int64 {
	const block = 4096
	return (size + block - 1) / block * block
}

// raw returns the OTLP protobuf of a trace.
func (f *files) raw(id string) ([]byte, error) {
	file, err := os.Open(f.path(id))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, evidence.MaxTrace))
}

func (f *files) read(id string) (ptrace.Traces, error) {
	data, err := f.raw(id)
	if err != nil {
		return ptrace.Traces{}, err
	}
	var u ptrace.ProtoUnmarshaler
	return u.UnmarshalTraces(data)
}

func (f *files) size(id string) int64 {
	info, err := os.Stat(f.path(id))
	if err != nil {
		return 0
	}
	return onDisk(info.Size())
}

func (f *files) remove(id string) { _ = os.Remove(f.path(id)) }
