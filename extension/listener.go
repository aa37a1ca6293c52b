package extension

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	sandboxHost = "sandbox.localdomain"
	// resolveTimeout bounds the look-up of sandboxHost where it is not in
	// /etc/hosts: it may go to a name server that never answers.
	resolveTimeout = 50 * time.Millisecond
	closeTimeout   = 50 * time.Millisecond
	// maxBody bounds a batch. Lambda's are at most twice the bytes of the
	// subscription, and metadata.
	maxBody = 2*bufferBytes + 512<<10
	// maxBodies bounds how many are read at a time.
	maxBodies = 2
	// keepBuffer is the largest buffer that is kept for the next batch.
	keepBuffer = 256 << 10
	// maxBatches is how many batches are remembered, because Lambda delivers
	// one again whose answer it did not see.
	maxBatches = 32
)

// listener receives telemetry.
type listener struct {
	log     zerolog.Logger
	observe func(events []event, malformed int64)

	decoder decoder
	buffers chan *bytes.Buffer
	server  *http.Server
	port    int
	done    chan struct{}

	mu      sync.Mutex
	batches []uint64
}

// listen starts a listener on an ephemeral port of the sandbox's address. It
// never listens on all of them.
func listen(ctx context.Context, log zerolog.Logger, observe func([]event, int64)) (*listener, error) {
	ln, err := bind(ctx)
	if err != nil {
		return nil, fmt.Errorf("listen for telemetry: %w", err)
	}
	l := &listener{
		log: log, observe: observe, decoder: newDecoder(),
		buffers: make(chan *bytes.Buffer, maxBodies), done: make(chan struct{}),
		port: ln.Addr().(*net.TCPAddr).Port,
	}
	for range maxBodies {
		l.buffers <- new(bytes.Buffer)
	}
	l.server = &http.Server{Handler: l, MaxHeaderBytes: 16 << 10, ErrorLog: discard()}
	go func() {
		defer close(l.done)
		if err := l.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			l.log.Warn().Err(err).Msg("telemetry is no longer received")
		}
	}()
	return l, nil
}

func bind(ctx context.Context) (net.Listener, error) {
	if addr, ok := inHosts(sandboxHost); ok {
		if ln, err := net.Listen("tcp", net.JoinHostPort(addr.String(), "0")); err == nil {
			return ln, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var lc net.ListenConfig
	if ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(sandboxHost, "0")); err == nil {
		if addr, ok := ln.Addr().(*net.TCPAddr); ok && !addr.IP.IsUnspecified() {
			return ln, nil
		}
		ln.Close()
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// inHosts looks a name up in /etc/hosts alone. The resolver would do so too,
// but starting it costs as much as everything else that we do in the init.
func inHosts(name string) (netip.Addr, bool) {
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil || len(hosts) > 64<<10 {
		return netip.Addr{}, false
	}
	for line := range strings.Lines(string(hosts)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.Contains(fields[1:], name) {
			continue
		}
		if addr, err := netip.ParseAddr(fields[0]); err == nil && !addr.IsUnspecified() {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// uri is where Lambda is to send telemetry: it insists on the name.
func (l *listener) uri() string {
	return "http://" + net.JoinHostPort(sandboxHost, strconv.Itoa(l.port)) + "/"
}

// close stops the listener and waits for it. A batch that is being answered
// still gets its answer.
func (l *listener) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		l.server.Close()
	}
	<-l.done
}

// ServeHTTP takes one batch. The answer is 200 whatever was in it: on any other
// Lambda delivers the batch again, and what could not be read once never can.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(l.log, "receiving telemetry", p)
		}
	}()
	if !knownHost(r.Host) {
		// A page in somebody's browser, if this runs on a developer's machine.
		http.Error(w, "unknown host", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	buf := <-l.buffers
	defer func() {
		if buf.Cap() > keepBuffer {
			buf = new(bytes.Buffer)
		}
		l.buffers <- buf
	}()
	buf.Reset()
	switch _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); {
	case err == nil:
		l.receive(buf.Bytes())
	case errors.As(err, new(*http.MaxBytesError)):
		l.observe(nil, 1)
	}
}

func (l *listener) receive(body []byte) {
	if len(body) == 0 || l.repeated(body) {
		return
	}
	l.observe(l.decoder.decode(body))
}

// repeated says whether the same batch came before.
func (l *listener) repeated(body []byte) bool {
	sum := maphash.Bytes(l.decoder.seed, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.batches, sum) {
		return true
	}
	if len(l.batches) == maxBatches {
		l.batches = slices.Delete(l.batches, 0, 1)
	}
	l.batches = append(l.batches, sum)
	return false
}

func knownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	switch host {
	case "sandbox", sandboxHost, "127.0.0.1", "localhost":
		return true
	}
	return false
}

// discard is for what net/http would write about its connections.
func discard() *log.Logger { return log.New(io.Discard, "", 0) }
