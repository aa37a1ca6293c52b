package report

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// liveRanges are the links of the live page.
func liveRanges() []string { return []string{"1h", "24h", "168h"} }

// Handler serves the report live: /?since=24h&function=name&format=html. The
// source is asked for at each request, so that it may come to be after the
// handler. base are the options that requests do not set.
func Handler(source func() Source, base Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		options, format, err := request(r, base)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		report, err := Build(r.Context(), source(), options)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		serve(w, report, format)
	})
}

// request reads what a request asks for.
func request(r *http.Request, o Options) (Options, Format, error) {
	query := r.URL.Query()
	format := Format(query.Get("format"))
	if format == "" {
		format = HTML
	}
	if !slices.Contains(Formats(), format) {
		return o, format, fmt.Errorf("format is one of %v", Formats())
	}
	if names := query["function"]; len(names) > 0 {
		o.Functions = names
	}
	if since := query.Get("since"); since != "" {
		d, err := time.ParseDuration(since)
		if err != nil || d <= 0 {
			return o, format, errors.New("since is a duration such as 24h")
		}
		o.Since = d
	}
	for name, into := range map[string]*time.Time{"start": &o.Start, "end": &o.End} {
		if value := query.Get(name); value != "" {
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return o, format, fmt.Errorf("%s is a time such as 2026-11-02T12:00:00Z", name)
			}
			*into = at
		}
	}
	return o, format, nil
}

func serve(w http.ResponseWriter, r *Report, format Format) {
	var body bytes.Buffer
	var err error
	header := w.Header()
	switch format {
	case HTML:
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "frame-ancestors 'none'")
		err = writePage(&body, r, liveRanges())
	case JSON:
		header.Set("Content-Type", "application/json")
		err = Render(&body, r, format, TextOptions{})
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		err = Render(&body, r, format, TextOptions{})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	body.WriteTo(w)
}
