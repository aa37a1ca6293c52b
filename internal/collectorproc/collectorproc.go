// Package collectorproc runs the thaw-collector binary as a child process, for
// the demo and for the end-to-end tests: on free ports, with its own data
// folder, and stopped for certain.
package collectorproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is a running collector.
type Process struct {
	// OTLP is the base URL of its OTLP/HTTP receiver, API that of its Prometheus
	// API and its page.
	OTLP string
	API  string

	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
	err    error
}

// Config says what to run. Ports that are empty are chosen freely, so that any
// number of collectors run side by side.
type Config struct {
	Binary  string
	DataDir string
	// OTLPAddr, GRPCAddr and HTTPAddr are host:port, or empty.
	OTLPAddr, GRPCAddr, HTTPAddr string
	// Env is added to that of this process, as in os/exec.
	Env []string
	// Args are further arguments.
	Args []string
	// Log receives what the collector writes; nil keeps only the end of it, for
	// error messages.
	Log io.Writer
}

// Start runs a collector and waits until it is ready.
func Start(ctx context.Context, c Config) (*Process, error) {
	for _, addr := range []*string{&c.OTLPAddr, &c.GRPCAddr, &c.HTTPAddr} {
		if *addr != "" {
			continue
		}
		free, err := freeAddr(ctx)
		if err != nil {
			return nil, fmt.Errorf("find a free port for the collector: %w", err)
		}
		*addr = free
	}
	p := &Process{
		OTLP:   "http://" + c.OTLPAddr,
		API:    "http://" + c.HTTPAddr,
		log:    &tail{next: c.Log},
		exited: make(chan struct{}),
	}
	p.cmd = exec.Command(c.Binary, c.Args...)
	p.cmd.Env = append(os.Environ(),
		"THAW_DATA_DIR="+c.DataDir,
		"THAW_OTLP_HTTP_ENDPOINT="+c.OTLPAddr,
		"THAW_OTLP_GRPC_ENDPOINT="+c.GRPCAddr,
		"THAW_HTTP_ENDPOINT="+c.HTTPAddr)
	p.cmd.Env = append(p.cmd.Env, c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	isolate(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the collector: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.waitReady(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// freeAddr asks the kernel for a port. Another program may take it before the
// collector does; the collector then says so and exits.
func freeAddr(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := request(ctx, http.MethodGet, p.API+"/-/ready"); err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the collector exited before it was ready: %w\n%s", p.err, p.log)
		case <-ctx.Done():
			return fmt.Errorf("the collector was not ready in time: %w\n%s", ctx.Err(), p.log)
		case <-tick.C:
		}
	}
}

// Flush makes the collector write what it has counted to its store.
func (p *Process) Flush(ctx context.Context) error {
	if err := request(ctx, http.MethodPost, p.API+"/-/flush"); err != nil {
		return fmt.Errorf("flush the collector: %w", err)
	}
	return nil
}

func request(ctx context.Context, method, url string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, bytes.TrimSpace(body))
	}
	return nil
}

// Stop asks the collector to finish, and kills it when it does not within 10
// seconds.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the collector: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.Kill()
		return fmt.Errorf("the collector did not stop within 10 s and was killed\n%s", p.log)
	}
	if p.err != nil {
		return fmt.Errorf("the collector failed when it stopped: %w\n%s", p.err, p.log)
	}
	return nil
}

// Kill ends the collector with SIGKILL, as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have gone by itself
	<-p.exited
}

// Exited is closed when the collector has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Log returns the end of what the collector wrote.
func (p *Process) Log() string { return p.log.String() }

// tail keeps the last few KiB that are written to it.
type tail struct {
	mu   sync.Mutex
	buf  []byte
	next io.Writer
}

func (t *tail) Write(b []byte) (int, error) {
	const keep = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - keep; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	if t.next != nil {
		return t.next.Write(b)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
