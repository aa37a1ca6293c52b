package evidenceexporter

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/evidence"
)

// maxListed bounds an answer.
const maxListed = 1000

// handler serves what is kept, see package evidence.
func (e *evidenceExporter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+evidence.Path, e.serveList)
	mux.HandleFunc("GET "+evidence.Path+"/{id}", e.serveTrace)
	return mux
}

func (e *evidenceExporter) serveList(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := maxListed
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxListed {
			http.Error(w, "limit is a number from 1 to "+strconv.Itoa(maxListed), http.StatusBadRequest)
			return
		}
		limit = n
	}
	match := func(key, value string) bool { return !query.Has(key) || query.Get(key) == value }
	found := e.index.find(func(c evidence.ColdStart) bool {
		return match("function", c.Function) && match("account", c.Account) && match("region", c.Region) && match("version", c.Version)
	})
	list := evidence.List{ColdStarts: append([]evidence.ColdStart{}, found[:min(limit, len(found))]...)}
	header(w, "application/json")
	_ = json.NewEncoder(w).Encode(list) // the client went away
}

func (e *evidenceExporter) serveTrace(w http.ResponseWriter, r *http.Request) {
	id := strings.ToLower(r.PathValue("id"))
	if !valid(id) {
		http.Error(w, "a cold start is named by the ids of its trace and of its init's span: 32 and 16 hexadecimal digits, a hyphen between", http.StatusBadRequest)
		return
	}
	data, err := e.files.raw(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "this cold start is not kept", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "the trace cannot be read", http.StatusInternalServerError)
		return
	}
	if r.URL.Query().Get("format") != "json" {
		header(w, "application/x-protobuf")
		_, _ = w.Write(data)
		return
	}
	var u ptrace.ProtoUnmarshaler
	var m ptrace.JSONMarshaler
	td, err := u.UnmarshalTraces(data)
	if err == nil {
		data, err = m.MarshalTraces(td)
	}
	if err != nil {
		http.Error(w, "the trace cannot be read", http.StatusInternalServerError)
		return
	}
	header(w, "application/json")
	_, _ = w.Write(data)
}

func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}
