package coldstartconnector

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A state that is fed from the journal must become the one that was fed
// directly, and so must one that has been through a snapshot.
func TestCodec(t *testing.T) {
	b := smallLife(t)
	b.rejected = 3
	direct := newTestState()
	direct.apply(b)
	want := everything(direct)

	var read batch
	if err := decodePayload(encodeRecord(&b, codeBatch)[recordHeader:], &read, codeBatch); err != nil {
		t.Fatal(err)
	}
	replayed := newTestState()
	replayed.apply(read)
	diff(t, "after the journal", everything(replayed), want)

	restored := newState(testLimits, "another", 0)
	if err := decodeSnapshot(encodeRecord(direct, codeState), restored); err != nil {
		t.Fatal(err)
	}
	diff(t, "after a snapshot", everything(restored), want)
	// Both know the ids and the clusters of before.
	direct.apply(b)
	restored.apply(b)
	l := newLife(environment("thumbnail", "e1"), noon)
	l.warm(1)
	more := decodeTraces(t, noon, l.cut())
	direct.apply(more)
	restored.apply(more)
	diff(t, "after a snapshot and more", everything(restored), everything(direct))
}

func TestSnapshotErrors(t *testing.T) {
	s := newTestState()
	s.apply(smallLife(t))
	good := encodeRecord(s, codeState)
	f := func(what string, data []byte, want string) {
		t.Helper()
		err := decodeSnapshot(data, newTestState())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	f("empty", nil, "too early")
	f("short", good[:len(good)-1], "too early")
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	f("flipped", flipped, "checksum")

	newer := bytes.Clone(good[recordHeader:])
	newer[0] = formatVersion + 1
	if err := decodePayload(newer, newTestState(), codeState); !errors.Is(err, errNewer) {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	s := newTestState()
	s.apply(smallLife(f))
	f.Add(encodeRecord(s, codeState)[recordHeader:])
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := newTestState()
		if decodePayload(payload, s, codeState) != nil {
			return
		}
		// What was accepted must be usable.
		s.apply(smallLife(t))
		everything(s)
	})
}

func FuzzReadJournal(f *testing.F) {
	b := smallLife(f)
	record := encodeRecord(&b, codeBatch)
	f.Add(append(bytes.Clone(record), record...))
	f.Add(record[:len(record)-3])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newTestState()
		if read, _ := readJournal(bytes.NewReader(data), s.apply); read > int64(len(data)) {
			t.Errorf("read %d of %d bytes", read, len(data))
		}
		everything(s)
		// The checksum keeps the fuzzer out of the payload.
		var b batch
		if decodePayload(data, &b, codeBatch) == nil {
			s.apply(b)
			everything(s)
		}
	})
}
