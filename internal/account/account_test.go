package account

import (
	"bytes"
	"strings"
	"testing"
)

func TestReadSaysWhatIsWrong(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		_, err := Read(strings.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", data, err, want)
		}
	}
	f(``, "not what `thaw account` writes")
	f(`[]`, "not what `thaw account` writes")
	f(`{"version": 2, "account_id": "1", "region": "x"}`, "version 2, this thaw reads version 1")
	f(`{"version": 1, "region": "x"}`, "no account")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version":1,"account_id":"123456789012","region":"us-east-1","functions":[{"name":"f","metrics":{"throttles":1}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := a.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&out); err != nil {
			t.Errorf("what was read and written cannot be read again: %v", err)
		}
	})
}
