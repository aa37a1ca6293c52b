package collectorproc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/thaw-lambda/thaw/internal/spool"
)

// Spool picks out of a log what extensions wrote there because no backend took
// it in time: at a reset they have a third of a second, on a small share of a
// CPU. The zero value is ready to be written to, line by line or not.
type Spool struct {
	mu       sync.Mutex
	line     []byte
	decoder  spool.Decoder
	payloads [][]byte
}

// maxSpoolLine bounds what is held of a line that does not end.
const maxSpoolLine = 1 << 20

// Write takes a piece of the log.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			if len(s.line) < maxSpoolLine {
				s.line = append(s.line, p...)
			}
			return n, nil
		}
		s.line = append(s.line, p[:end]...)
		for _, r := range s.decoder.Line(s.line) {
			s.payloads = append(s.payloads, r.Payload)
		}
		s.line, p = s.line[:0], p[end+1:]
	}
}

// Deliver sends the collector what a spool holds, which then holds no more. A
// span that had reached it is recognised, and counts once.
func (p *Process) Deliver(ctx context.Context, s *Spool) error {
	s.mu.Lock()
	payloads := s.payloads
	s.payloads = nil
	s.mu.Unlock()
	for i, payload := range payloads {
		if err := Post(ctx, p.OTLP, payload); err != nil {
			return fmt.Errorf("deliver record %d of %d of the spool: %w", i+1, len(payloads), err)
		}
	}
	return nil
}

// Post sends one OTLP request to an OTLP/HTTP endpoint.
func Post(ctx context.Context, endpoint string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	return nil
}
