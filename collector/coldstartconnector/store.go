package coldstartconnector

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// store keeps the state of a connector in a directory:
//
//	lock                  flock'ed while in use
//	snapshot-00000007     the state before segment 7 of the journal
//	journal-00000007      batches, one record each
//
// The last two snapshots are kept, with the journal since the older one: if
// the newest cannot be read, nothing is lost.
//
// A record is its length and the CRC-32C of its payload, four bytes each in
// little-endian, and the payload. The payload of a journal record begins with
// the version of the format; a snapshot is a file with a single record.
type store struct {
	dir   string
	fsync bool
	lock  *os.File

	segment int
	file    *os.File
	size    int64
}

// formatVersion changes with what codec.go writes.
const formatVersion = 2

const (
	snapshotPrefix = "snapshot-"
	journalPrefix  = "journal-"
	recordHeader   = 8
	// maxRecord is far above what a receiver accepts in one request.
	maxRecord = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNewer says that another version of the program owns the data.
var errNewer = errors.New("it was written by another version of thaw-collector")

// openStore locks dir, which is created if need be.
func openStore(dir string, fsync bool) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by another collector: stop that one, or set another directory", dir)
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	s := &store{dir: dir, fsync: fsync, lock: lock}
	return s, s.sweep()
}

// sweep removes snapshots that were never finished.
func (s *store) sweep() error {
	unfinished, err := filepath.Glob(filepath.Join(s.dir, snapshotPrefix+"*.tmp"))
	for _, path := range unfinished {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (s *store) close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	return errors.Join(err, s.lock.Close())
}

func (s *store) path(prefix string, n int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%08d", prefix, n))
}

// list returns the numbers of the files with a prefix, in order.
func (s *store) list(prefix string) ([]int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// recovery says what load found.
type recovery struct {
	// Snapshot is false when there was none that could be read.
	Snapshot bool
	Batches  int
	// Warnings tell what could not be read.
	Warnings []string
}

// load restores fresh from the newest snapshot that can be read and the
// journal since. A snapshot that is damaged is moved aside. If there is none
// left, the journal alone is not applied: it would be a part of the counts
// under the name of the whole.
func (s *store) load(fresh func() *state) (*state, recovery, error) {
	var rec recovery
	snapshots, err := s.list(snapshotPrefix)
	if err != nil {
		return nil, rec, err
	}
	segments, err := s.list(journalPrefix)
	if err != nil {
		return nil, rec, err
	}
	for _, n := range slices.Concat(snapshots, segments) {
		s.segment = max(s.segment, n)
	}
	st, first := fresh(), 0
	for _, n := range slices.Backward(snapshots) {
		err := s.readSnapshot(n, st)
		if err == nil {
			rec.Snapshot, first = true, n
			break
		}
		if errors.Is(err, errNewer) {
			return nil, rec, fmt.Errorf("%s: %w: run that version, or move %s away to count from zero", s.path(snapshotPrefix, n), err, s.dir)
		}
		aside := s.path("damaged-"+snapshotPrefix, n)
		rec.Warnings = append(rec.Warnings, fmt.Sprintf("snapshot cannot be read and is moved to %s: %v", aside, err))
		if err := os.Rename(s.path(snapshotPrefix, n), aside); err != nil {
			return nil, rec, err
		}
		st = fresh()
	}
	if !rec.Snapshot {
		if len(segments) > 0 {
			rec.Warnings = append(rec.Warnings, "no snapshot is left: counting begins at zero, under a new service.instance.id")
		}
		return st, rec, nil
	}
	for _, n := range segments {
		if n >= first {
			if err := s.replay(n, st, &rec); err != nil {
				return nil, rec, err
			}
		}
	}
	return st, rec, nil
}

func (s *store) readSnapshot(n int, st *state) error {
	data, err := os.ReadFile(s.path(snapshotPrefix, n))
	if err != nil {
		return err
	}
	return decodeSnapshot(data, st)
}

func decodeSnapshot(data []byte, st *state) error {
	if len(data) < recordHeader {
		return errTruncated
	}
	length, sum := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	payload := data[recordHeader:]
	if uint64(length) != uint64(len(payload)) {
		return errTruncated
	}
	if crc32.Checksum(payload, castagnoli) != sum {
		return errors.New("its checksum is wrong")
	}
	return decodePayload(payload, st, codeState)
}

func decodePayload[T any](payload []byte, v *T, code func(codec, *T)) error {
	version, n := binary.Uvarint(payload)
	if n <= 0 {
		return errTruncated
	}
	if version != formatVersion {
		return fmt.Errorf("format %d, this one reads %d: %w", version, formatVersion, errNewer)
	}
	return decode(payload[n:], v, code)
}

// encodeRecord is the reverse of decodePayload, with the header of the record.
func encodeRecord[T any](v *T, code func(codec, *T)) []byte {
	return encodeRecordTo(newEncoder(), v, code)
}

// encodeRecordTo returns a record that is valid until e is used again.
func encodeRecordTo[T any](e *encoder, v *T, code func(codec, *T)) []byte {
	e.reset()
	e.buf = append(e.buf, make([]byte, recordHeader)...)
	e.buf = binary.AppendUvarint(e.buf, formatVersion)
	code(e, v)
	payload := e.buf[recordHeader:]
	binary.LittleEndian.PutUint32(e.buf, uint32(len(payload)))
	binary.LittleEndian.PutUint32(e.buf[4:], crc32.Checksum(payload, castagnoli))
	return e.buf
}

// replay applies a segment of the journal. What is unreadable ends it: a torn
// tail is what kill -9 leaves behind.
func (s *store) replay(n int, st *state, rec *recovery) error {
	f, err := os.Open(s.path(journalPrefix, n))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	read, err := readJournal(bufio.NewReaderSize(f, 1<<16), func(b batch) {
		st.apply(b)
		rec.Batches++
	})
	if errors.Is(err, errNewer) {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err != nil {
		rec.Warnings = append(rec.Warnings, fmt.Sprintf(
			"the last %d of %d bytes of %s are torn and were never acknowledged, or damaged: %v", info.Size()-read, info.Size(), f.Name(), err))
	}
	return nil
}

// readJournal calls yield for each batch up to the end or to the first that
// cannot be read, and returns the bytes that could.
func readJournal(r io.Reader, yield func(batch)) (read int64, err error) {
	header := make([]byte, recordHeader)
	var payload []byte
	for {
		if _, err := io.ReadFull(r, header); err == io.EOF {
			return read, nil
		} else if err != nil {
			return read, err
		}
		length, sum := binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:])
		if length > maxRecord {
			return read, fmt.Errorf("a record of %d bytes", length)
		}
		// Grow with what is there, not with what the header claims.
		if payload, err = readN(r, payload[:0], int(length)); err != nil {
			return read, err
		}
		if crc32.Checksum(payload, castagnoli) != sum {
			return read, errors.New("the checksum of a record is wrong")
		}
		var b batch
		if err := decodePayload(payload, &b, codeBatch); err != nil {
			return read, err
		}
		yield(b)
		read += recordHeader + int64(length)
	}
}

func readN(r io.Reader, buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		chunk := min(n-len(buf), 1<<20)
		buf = slices.Grow(buf, chunk)
		k, err := io.ReadFull(r, buf[len(buf):len(buf)+chunk])
		buf = buf[:len(buf)+k]
		if err != nil {
			return buf, io.ErrUnexpectedEOF
		}
	}
	return buf, nil
}

// append writes one record to the journal. When it returns nil, the record
// survives the death of this process; with fsync, that of the machine.
func (s *store) append(record []byte) error {
	if s.file == nil {
		return errors.New("the journal is closed")
	}
	if _, err := s.file.WriteAt(record, s.size); err != nil {
		// What was written of it must not precede the next record.
		return errors.Join(err, s.file.Truncate(s.size))
	}
	if s.fsync {
		if err := s.file.Sync(); err != nil {
			return errors.Join(err, s.file.Truncate(s.size))
		}
	}
	s.size += int64(len(record))
	return nil
}

// rotate begins a new segment and returns its number.
func (s *store) rotate() (int, error) {
	n := s.segment + 1
	f, err := os.OpenFile(s.path(journalPrefix, n), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	if s.fsync {
		if err := s.syncDir(); err != nil {
			return 0, errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}
	if s.file != nil {
		// Every record in it has been written: nothing is lost if this fails.
		s.file.Close()
	}
	s.segment, s.file, s.size = n, f, 0
	return n, nil
}

// snapshot writes the state before segment n, and deletes what neither it nor
// the snapshot before it needs.
func (s *store) snapshot(n int, record []byte) error {
	path := s.path(snapshotPrefix, n)
	if err := writeFile(path+".tmp", record); err != nil {
		return errors.Join(err, os.Remove(path+".tmp"))
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	if err := s.syncDir(); err != nil {
		return err
	}
	return s.clean()
}

// syncDir makes the names of new files survive a power failure.
func (s *store) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// clean deletes all but the last two snapshots, and the journal before them.
func (s *store) clean() error {
	snapshots, err := s.list(snapshotPrefix)
	if err != nil || len(snapshots) == 0 {
		return err
	}
	oldest := snapshots[max(0, len(snapshots)-2)]
	segments, err := s.list(journalPrefix)
	if err != nil {
		return err
	}
	remove := func(prefix string, numbers []int) {
		for _, n := range numbers {
			if n < oldest {
				err = errors.Join(err, os.Remove(s.path(prefix, n)))
			}
		}
	}
	remove(snapshotPrefix, snapshots)
	remove(journalPrefix, segments)
	return err
}
