package hooktest

import (
	"strings"
	"testing"
)

// The vectors are worth something only if they can be read, and the checker is
// only if it refuses.
func TestVectors(t *testing.T) {
	for _, v := range Read(t, "../testdata/vectors") {
		if v.Comment == "" {
			t.Errorf("%s does not say what it shows", v.Name)
		}
		for runtime, c := range v.Cases {
			if len(c.Files) == 0 {
				t.Errorf("%s: no files for %s", v.Name, runtime)
			}
		}
		if v.Wire == nil {
			continue
		}
		// The checker knows what is in version 1 only.
		if got, err := readerTree(v.Wire, ""); err != nil || got != v.Want {
			t.Errorf("%s: the extension reads %v\n%swant\n%s", v.Name, err, got, v.Want)
		}
		p, err := Parse([]byte(strings.ReplaceAll(string(v.Wire), "q\tsomething\tnew\n", "")))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if got := p.Tree(""); got != v.Want {
			t.Errorf("%s: got\n%swant\n%s", v.Name, got, v.Want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const header = "thaw-init\t1\tnodejs\tv22.0.0\t1\t1\n"
	f := func(content, want string) {
		t.Helper()
		if _, err := Parse([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", content, err, want)
		}
	}
	f("m\thook\tx\n", "header is the first line")
	f("thaw-init\t2\tnodejs\tv22.0.0\t1\t1\n", "not version 1")
	f(header+header, "header is the first line")
	f(header+"r\t1\t0\tcjs\t1\t2\t3\t-\tname\n", "9 fields")
	f(header+"r\t0\t0\tcjs\t1\t2\t3\t-\tname\t\n", "its id")
	f(header+"r\t2\t1\tcjs\t1\t2\t3\t-\tname\t\n", "a parent, 1, that is not there")
	f(header+"r\t1\t0\tnone\t1\t2\t3\t-\tname\t\n", "kind")
	f(header+"r\t1\t0\tcjs\t1\t2\t3\tx\tname\t\n", "flags")
	f(header+"r\t1\t0\tcjs\t1.5\t2\t3\t-\tname\t\n", "invalid syntax")
	f(header+"r\t1\t0\tcjs\t1\t2\t3\t-\ta\\b\t\n", "escape")
	f(header+"r\t1\t0\tcjs\t1\t2\t3\t-\tname\t"+strings.Repeat("x", 257)+"\n", "257 bytes")
	f(header+"m\thook\t\xff\n", "not UTF-8")
	f(header+"z\tx\n", "2 fields")
}

func TestCheck(t *testing.T) {
	const header = "thaw-init\t1\tnodejs\tv22.0.0\t1\t1\nm\tbootstrap\t1\nm\thook\tx/1\nm\thook_us\t5\n"
	f := func(records, want string) {
		t.Helper()
		p, err := Parse([]byte(header + records))
		if err != nil {
			t.Fatal(err)
		}
		err = p.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", records, err, want)
		}
	}
	f("r\t1\t0\tcjs\t10\t20\t0\t-\ta\t\nr\t2\t1\tcjs\t12\t18\t0\t-\tb\t\n", "")
	f("r\t1\t0\tcjs\t10\t20\t0\t-\ta\t\nr\t2\t1\tcjs\t12\t28\t0\t-\tb\t\n", "b [12, 28] is not within a [10, 20]")
	f("r\t1\t0\tcjs\t10\t20\t0\t-\ta\t\nr\t2\t1\tcjs\t12\t28\t0\ta\tb\t\n", "")
	f("r\t1\t0\tcjs\t10\t20\t0\t-\ta\t\nr\t2\t1\tcjs\t12\t0\t0\t-\tb\t\n", "not within")
	f("r\t1\t0\tcjs\t10\t9\t0\t-\ta\t\n", "ends before it starts")
	f("m\thook_us\t\n", "no mark hook_us")
}
