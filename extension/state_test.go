package extension

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMachine replays the scripts of testdata/state; testdata/state/README.md
// describes them.
func TestMachine(t *testing.T) {
	files, err := filepath.Glob("testdata/state/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlayer(t)
			p.play(string(ar.Files[0].Data))
			got := p.out.String()
			if *update {
				ar.Files = append(ar.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(ar.Files) < 2 || string(ar.Files[1].Data) != got {
				t.Errorf("%s: got\n%s\nrun with -update if that is right", ar.Comment, got)
			}
		})
	}
}

// player drives a machine by a script.
type player struct {
	t       *testing.T
	base    time.Time
	machine machine
	decoder decoder
	out     bytes.Buffer
}

func newPlayer(t *testing.T) *player {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &player{t: t, base: base, decoder: newDecoder()}
	p.machine = machine{
		newID: func() string { return "random" }, kind: lifecycle.OnDemand, telemetry: true,
		processStart: base.Add(10 * time.Millisecond), registered: base.Add(15 * time.Millisecond),
	}
	p.machine.env.Name, p.machine.env.Region = "thumbnail", "eu-west-1"
	return p
}

func (p *player) play(script string) {
	scanner := bufio.NewScanner(strings.NewReader(script))
	var batch []string
	var arrived time.Time
	flush := func() {
		if batch == nil {
			return
		}
		events, malformed := p.decoder.decode([]byte("[" + strings.Join(batch, ",") + "]"))
		p.machine.account.EventsMalformed += malformed
		p.machine.observe(arrived, events)
		batch = nil
		p.describe(arrived)
	}
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '{' {
			batch = append(batch, line)
			continue
		}
		flush()
		fields := strings.Fields(line)
		at := p.time(fields[0])
		switch fields[1] {
		case "telemetry":
			arrived, batch = at, []string{}
		default:
			p.command(at, fields[1], fields[2:])
			p.describe(at)
		}
	}
	flush()
}

func (p *player) time(field string) time.Time {
	ms, err := strconv.ParseFloat(strings.TrimPrefix(field, "@"), 64)
	if err != nil {
		p.t.Fatalf("time %q: %v", field, err)
	}
	return p.base.Add(time.Duration(ms * float64(time.Millisecond)))
}

func (p *player) command(at time.Time, name string, args []string) {
	m := &p.machine
	switch name {
	case "kind":
		m.kind = lifecycle.InitKind(args[0])
	case "blind":
		m.telemetry = false
	case "runtime":
		m.runtimeStart = at
	case "ready":
		m.isReady(at, 5*time.Millisecond)
	case "invoke":
		m.invoke(at, lambdaapi.NextEvent{
			EventType: "INVOKE", RequestID: args[0],
			InvokedFunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:thumbnail:live",
			Tracing:            &lambdaapi.Tracing{Value: "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2"},
		})
	case "acknowledge":
		m.acknowledged(at, []arrivals{{at.Add(-time.Second), 2}})
	case "shutdown":
		m.thaw(at)
		fmt.Fprintf(&p.out, "@%s outstanding=%v running=%v\n", p.ms(at), m.outstanding(), m.running())
		m.finish(args[0])
		m.shutdown(at, at.Add(time.Millisecond), args[0], lifecycle.Account{}, 0, 0, lifecycle.Waiting{})
	default:
		p.t.Fatalf("unknown command %q", name)
	}
}

// describe writes what the machine has completed.
func (p *player) describe(at time.Time) {
	for _, it := range p.machine.take() {
		p.machine.identify()
		fmt.Fprintf(&p.out, "@%s ", p.ms(at))
		switch {
		case it.invocation != nil:
			p.invocation("invocation", it.invocation, true)
		case it.report != nil:
			p.invocation("report of", it.report, false)
		case it.init != nil:
			p.init(it.init)
		case it.shutdown != nil:
			s := it.shutdown
			fmt.Fprintf(&p.out, "shutdown %s of %s after %d invocations, %v; received=%d malformed=%d dropped=%d missing=%d\n", s.Reason, p.machine.env.ID,
				s.Invocations, s.Lifetime, s.Account.EventsReceived, s.Account.EventsMalformed, s.Account.DroppedByPlatform, s.Account.ReportsMissing)
		}
	}
}

func (p *player) invocation(what string, inv *lifecycle.Invocation, whole bool) {
	w := &p.out
	fmt.Fprintf(w, "%s %s at %s: %s %s\n", what, inv.RequestID, p.ms(inv.Start), inv.StartType, outcomeText(inv.Status, inv.ErrorType))
	if inv.Suspected != "" {
		fmt.Fprintf(w, "\tsuspected %s\n", inv.Suspected)
	}
	if whole {
		if inv.ARN == "" && p.machine.kind != lifecycle.ManagedInstances {
			fmt.Fprintf(w, "\tnever announced by INVOKE\n")
		}
		if inv.Init != nil {
			fmt.Fprint(w, "\t")
			p.init(inv.Init)
		}
		if run := inv.Run; run != nil {
			fmt.Fprintf(w, "\trun %v, %d bytes%s\n", run.Duration, run.ProducedBytes, p.parts(run.Parts))
		}
	}
	if r := inv.Report; r != nil {
		fmt.Fprintf(w, "\treport received=%v %v billed %v init %v restore %v overhead %v memory %d dropped %d\n",
			r.Received, r.Duration, r.Billed, r.Init, r.Restore, r.ExtensionOverhead, r.MaxMemoryUsedMB, r.DroppedByPlatform)
		p.bill(inv)
		if l := r.Logs; l.Lines > 0 || l.Export.Count > 0 {
			fmt.Fprintf(w, "\tlogs %d lines %d bytes %d frozen, late sum %v max %v, exported %d in %v\n",
				l.Lines, l.Bytes, l.Frozen, l.Arrival.Sum, l.Arrival.Max, l.Export.Count, l.Export.Sum)
		}
	}
}

func (p *player) init(in *lifecycle.Init) {
	fmt.Fprintf(&p.out, "init %s %s %s at %s for %v %s request=%q self=%v%s\n", in.Kind, in.Phase, in.Demand, p.ms(in.Start), in.Duration,
		outcomeText(in.Status, in.ErrorType), in.RequestID, in.Self.Ready, p.parts(in.Parts))
	if in.Gap > 0 || in.FailedExtension != "" {
		fmt.Fprintf(&p.out, "\tgap %v, failed extension %q\n", in.Gap, in.FailedExtension)
	}
	var sum time.Duration
	for _, part := range in.Parts {
		sum += part.Duration
	}
	if sum != in.Duration {
		p.t.Errorf("the parts of the init add up to %v, not %v", sum, in.Duration)
	}
}

// bill writes the part of the billed duration that is not explained, and holds
// that the parts add up to it.
func (p *player) bill(inv *lifecycle.Invocation) {
	parts := inv.BilledParts()
	if parts == nil {
		return
	}
	var sum time.Duration
	for _, part := range parts {
		sum += part.Duration
	}
	if sum != inv.Report.Billed {
		p.t.Errorf("the parts of the bill add up to %v, not %v", sum, inv.Report.Billed)
	}
	if last := parts[len(parts)-1]; last.Name == lifecycle.PartUnattributed {
		fmt.Fprintf(&p.out, "\tunattributed %v of the bill\n", last.Duration)
	}
}

func (p *player) parts(parts []lifecycle.Part) string {
	var b strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&b, "; %s %v %s", part.Name, part.Duration, part.Basis)
	}
	return b.String()
}

func (p *player) ms(at time.Time) string {
	return strconv.FormatFloat(float64(at.Sub(p.base))/1e6, 'f', -1, 64)
}

func outcomeText(s lifecycle.Status, errorType string) string {
	if s == "" {
		s = "unknown"
	}
	return strings.TrimSpace(string(s) + " " + errorType)
}
