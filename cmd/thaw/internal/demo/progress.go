package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells a person how far the work is: one line that is rewritten on a
// terminal, a line every ten seconds elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	total    int
	begun    time.Time

	mu    sync.Mutex
	done  int
	cold  int
	shown time.Time
	width int
}

func newProgress(w io.Writer, terminal bool, total int) *progress {
	now := time.Now()
	return &progress{w: w, terminal: terminal, total: total, begun: now, shown: now}
}

// add counts one invocation.
func (p *progress) add(cold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if cold {
		p.cold++
	}
	interval := 10 * time.Second
	if p.terminal {
		interval = 200 * time.Millisecond
	}
	if now := time.Now(); now.Sub(p.shown) >= interval {
		p.shown = now
		p.print()
	}
}

func (p *progress) print() {
	line := fmt.Sprintf("  %4d of %d invocations, %d of them cold, %3.0f s", p.done, p.total, p.cold, time.Since(p.begun).Seconds())
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	pad := max(p.width-len(line), 0)
	p.width = len(line)
	fmt.Fprint(p.w, "\r"+line+strings.Repeat(" ", pad))
}

// finish leaves the last state standing.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print()
	if p.terminal {
		fmt.Fprintln(p.w)
	}
}
