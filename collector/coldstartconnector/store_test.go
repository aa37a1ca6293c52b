package coldstartconnector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// disk is a store in the hands of a test.
type disk struct {
	t     *testing.T
	dir   string
	store *store
	state *state
	rec   recovery
	n     int
}

func openDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{t: t, dir: dir}
	d.open()
	return d
}

// open does what the connector does when it starts.
func (d *disk) open() {
	d.t.Helper()
	var err error
	if d.store, err = openStore(d.dir, false); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { d.store.close() })
	if d.state, d.rec, err = d.store.load(newTestState); err != nil {
		d.t.Fatal(err)
	}
	d.snapshot()
}

func (d *disk) reopen() {
	d.t.Helper()
	d.store.close()
	d.open()
}

func (d *disk) snapshot() {
	d.t.Helper()
	n, err := d.store.rotate()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.store.snapshot(n, encodeRecord(d.state, codeState)); err != nil {
		d.t.Fatal(err)
	}
}

// count counts one more invocation.
func (d *disk) count() {
	d.t.Helper()
	d.n++
	l := newLife(environment("f", "e"), noon.Add(time.Duration(d.n)*time.Minute))
	l.warm(time.Second)
	b := decodeTraces(d.t, noon, l.cut())
	if err := d.store.append(encodeRecord(&b, codeBatch)); err != nil {
		d.t.Fatal(err)
	}
	d.state.apply(b)
}

func (d *disk) want(n float64) {
	d.t.Helper()
	got := 0.0
	if len(d.state.functions) > 0 {
		got = d.state.functions[0].get(invocations, "warm").value
	}
	if got != n {
		d.t.Errorf("%v invocations, want %v", got, n)
	}
}

func (d *disk) newest(prefix string) string {
	d.t.Helper()
	numbers, err := d.store.list(prefix)
	if err != nil || len(numbers) == 0 {
		d.t.Fatal("no", prefix, err)
	}
	return d.store.path(prefix, numbers[len(numbers)-1])
}

func TestStoreRestores(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.count()
	d.count()
	d.reopen()
	d.want(2)
	d.count()
	d.snapshot()
	d.count()
	d.reopen()
	d.want(4)
	if d.rec.Batches != 1 || len(d.rec.Warnings) != 0 {
		t.Errorf("recovery %+v, want one batch since the snapshot", d.rec)
	}
	for range 5 {
		d.snapshot()
	}
	for _, prefix := range []string{snapshotPrefix, journalPrefix} {
		if numbers, _ := d.store.list(prefix); len(numbers) != 2 {
			t.Errorf("%s: %v are kept, want two", prefix, numbers)
		}
	}
}

func TestTornTail(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.count()
	d.count()
	path := d.newest(journalPrefix)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-5); err != nil {
		t.Fatal(err)
	}
	d.reopen()
	d.want(1)
	if len(d.rec.Warnings) != 1 || !strings.Contains(d.rec.Warnings[0], "torn") {
		t.Errorf("warnings %q", d.rec.Warnings)
	}
	d.count()
	d.reopen()
	d.want(2)
}

// A record of which only a part could be written must not spoil the next.
func TestAppendAfterFailure(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.count()
	writable := d.store.file
	readonly, err := os.Open(writable.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readonly.Close()
	d.store.file = readonly
	if err := d.store.append([]byte("x")); err == nil {
		t.Error("a journal that cannot be written took a record")
	}
	d.store.file = writable
	// As if the disk had filled up in the middle.
	if _, err := writable.WriteAt([]byte("garbage that is longer than a record"+strings.Repeat(".", 1000)), d.store.size); err != nil {
		t.Fatal(err)
	}
	d.count()
	d.reopen()
	d.want(2)
}

func TestDamagedSnapshot(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.count()
	d.snapshot()
	d.count()
	path := d.newest(snapshotPrefix)
	damage(t, path)
	d.reopen()
	d.want(2) // the one before, and the journal since
	if len(d.rec.Warnings) != 1 || !strings.Contains(d.rec.Warnings[0], "moved") {
		t.Errorf("warnings %q", d.rec.Warnings)
	}
	if found, _ := filepath.Glob(filepath.Join(d.dir, "damaged-*")); len(found) != 1 {
		t.Errorf("the damaged snapshot is not kept: %v", found)
	}
}

func TestAllSnapshotsDamaged(t *testing.T) {
	d := openDisk(t, t.TempDir())
	d.count()
	d.snapshot()
	numbers, _ := d.store.list(snapshotPrefix)
	for _, n := range numbers {
		damage(t, d.store.path(snapshotPrefix, n))
	}
	d.reopen()
	d.want(0)
	if d.rec.Snapshot || len(d.rec.Warnings) != 3 || !strings.Contains(d.rec.Warnings[2], "new service.instance.id") {
		t.Errorf("recovery %+v", d.rec)
	}
}

func damage(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 0xff
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSnapshotIsLeftAlone(t *testing.T) {
	d := openDisk(t, t.TempDir())
	path := d.newest(snapshotPrefix)
	record := encodeRecord(d.state, func(c codec, s *state) { codeState(c, s) })
	record[recordHeader] = formatVersion + 1
	if err := os.WriteFile(path, resum(record), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.store.load(newTestState)
	if err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("load: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir, false); err == nil || !strings.Contains(err.Error(), "in use by another collector") {
		t.Errorf("a second collector: %v", err)
	}
	s.close()
	s, err = openStore(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
}
