package e2e

import (
	"testing"

	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// A function in Go that asks for GODEBUG=inittrace=1, in the local Lambda: which
// of its packages took the time comes out at the other end, with the versions of
// its modules.
func TestInitProfileOfGo(t *testing.T) {
	b := newBackend(t)
	w := newWorld(t, "THAW_FORWARD_ENDPOINT="+b.URL)
	w.deploy("catalog-index", 512, func(f *emulator.Function) { f.Env["GODEBUG"] = "inittrace=1" })
	w.invoke("catalog-index", 512, `{}`)
	w.drain()
	if err := w.collector.Stop(); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.spans {
		tree, ok := s.Attributes().Get(lifecycle.AttrProfileTree)
		if !ok {
			continue
		}
		p, err := initprofile.Unpack(tree.Bytes().AsRaw())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, u := range p.Tree().Usages() {
			seen[u.Name] = u.Version
		}
		if p.Facts[initprofile.FactHook] != "go/inittrace" || p.Number("binary_bytes") == 0 || len(p.Records) < 5 {
			t.Errorf("facts %v, packages %v", p.Facts, seen)
		}
		return
	}
	t.Error("no span has the profile")
}
