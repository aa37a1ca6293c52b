package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/thaw-lambda/thaw/internal/evidence"
	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// keptColdStart is a cold start as the collector keeps it, from the file of a
// hook.
func keptColdStart(t *testing.T, version string, at time.Time, initMS int, status lifecycle.Status, file string) (evidence.ColdStart, []byte) {
	t.Helper()
	p, err := initprofile.Parse([]byte(fmt.Sprintf("thaw-init\t1\tnodejs\t22.4.0\t7\t%d\n", at.UnixMicro()) + file))
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := p.Pack(48 << 10)
	took := time.Duration(initMS) * time.Millisecond
	env := &lifecycle.Environment{Function: lifecycle.Function{AccountID: "123456789012", Region: "us-east-1", Name: "thumbnail"}, Version: version, ID: "e", MemoryMB: 512, Arch: "amd64"}
	in := &lifecycle.Init{Kind: lifecycle.OnDemand, Phase: lifecycle.PhaseInit, Demand: lifecycle.OnPath, Start: at, Duration: took, Status: status,
		Parts:   lifecycle.FillParts(at, took, []lifecycle.Part{{Name: lifecycle.PartRuntime, Start: at, Duration: 40 * time.Millisecond, Basis: lifecycle.Measured}, {Name: lifecycle.PartFunction, Start: at, Duration: took - 40*time.Millisecond, Basis: lifecycle.Measured}}),
		Profile: &lifecycle.InitProfile{Hook: "node/1", HookCost: time.Millisecond, Tree: tree, Inside: p.Tree().InsideText()},
	}
	td := ptrace.NewTraces()
	e := &lifecycle.Encoder{Environment: env}
	e.Init(e.Scope(td), in)
	span := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	var m ptrace.ProtoMarshaler
	data, err := m.MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	c := evidence.ColdStart{ID: span.TraceID().String() + "-" + span.SpanID().String(), Account: "123456789012", Region: "us-east-1", Function: "thumbnail",
		Version: version, MemoryMB: 512, Architecture: "amd64", Runtime: "nodejs:22.v3", Start: at, InitMS: float64(initMS), Status: string(status), Profiled: true}
	if status != lifecycle.Success {
		c.Inside = in.Profile.Inside
	}
	return c, data
}

// keeper is a collector: a store with evidence beside it.
type keeper struct {
	url    string
	list   evidence.List
	traces map[string][]byte
}

func newKeeper(t *testing.T, s *store) *keeper {
	t.Helper()
	k := &keeper{traces: map[string][]byte{}}
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(target))
	mux.HandleFunc("GET "+evidence.Path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(k.list)
	})
	mux.HandleFunc("GET "+evidence.Path+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(k.traces[r.PathValue("id")])
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// add keeps a cold start; the newest has to come first.
func (k *keeper) add(c evidence.ColdStart, data []byte) {
	k.list.ColdStarts = append(k.list.ColdStarts, c)
	k.traces[c.ID] = data
}

// earlier and later are two versions of one function: the later has sharp, and
// a name that would like to be markup.
const earlier = "m\thandler_begin\t1000\nr\t1\t0\tcjs\t1000\t201000\t500\t-\t./index\t/var/task/src/index.js\n" +
	"k\t@aws-sdk/client-s3\t3.600.0\t/var/task/node_modules/@aws-sdk/client-s3\n" +
	"r\t2\t1\tcjs\t2000\t152000\t9000\t-\ts3\t/var/task/node_modules/@aws-sdk/client-s3/index.js\n" +
	"r\t3\t2\tbuiltin\t10000\t30000\t0\t-\tnode:https\t\nm\thandler_end\t201000\n"

const later = earlier + "k\tsharp\t0.33.4\t/var/task/node_modules/sharp\n" +
	"r\t1\t0\tcjs\t1000\t441000\t500\t-\t./index\t/var/task/src/index.js\n" +
	"r\t4\t1\tcjs\t160000\t395000\t9000\t-\tsharp\t/var/task/node_modules/sharp/index.js\n" +
	"r\t5\t4\tcjs\t161000\t166000\t9000\t-\tx\t/var/task/node_modules/sharp/<img src=x onerror=alert(1)>.js\n"

func profiledReport(t *testing.T) *Report {
	t.Helper()
	s := newStore(t)
	sim := simulate("thumbnail", "8", 512)
	sim.invoke(call{start: "cold", environment: "1", duration: .1, billed: .1, init: .5, memoryMB: 60})
	s.write("collector-1", minutes(1))
	s.write("collector-1", minutes(30))
	s.write("collector-1", minutes(59), sim)
	k := newKeeper(t, s)
	k.add(keptColdStart(t, "8", minutes(50), 480, lifecycle.Success, later))
	k.add(keptColdStart(t, "8", minutes(45), 10000, lifecycle.Timeout, "r\t1\t0\tcjs\t1000\t0\t500\t-\t./index\t/var/task/src/index.js\nr\t2\t1\tcjs\t1000\t0\t500\t-\t./slow\t/var/task/src/slow.js\n"))
	k.add(keptColdStart(t, "7", minutes(40), 240, lifecycle.Success, earlier))
	r, err := Build(t.Context(), &Client{URL: k.url}, Options{Start: minutes(0), End: minutes(60), Now: func() time.Time { return minutes(90) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProfiles(t *testing.T) {
	r := profiledReport(t)
	f := r.Functions[0]
	if len(f.Profiles) != 3 || f.Profiles[0].Version != "8" || f.Profiles[0].InitMS != 480 || f.Profiles[2].Kept[0] != "slowest" {
		t.Fatalf("%d profiles: %+v", len(f.Profiles), f.Profiles)
	}
	p := f.Profiles[0]
	var packages []string
	for _, u := range p.Packages {
		packages = append(packages, fmt.Sprintf("%s %s self %g total %g by %v", u.Name, u.Version, u.SelfMS, u.TotalMS, u.ImportedBy))
	}
	want := `sharp 0.33.4 self 235 total 235 by [src/index.js]
@aws-sdk/client-s3 3.600.0 self 130 total 150 by [src/index.js]
(own code)  self 55 total 440 by []
node:https  self 20 total 20 by [src/index.js @aws-sdk/client-s3/index.js]`
	if got := strings.Join(packages, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	sum := 0.0
	for i, m := range p.Modules {
		sum += m.SelfMS
		if m.Parent >= i || m.Package >= len(p.Packages) {
			t.Errorf("module %d: %+v", i, m)
		}
	}
	if sum != 440 {
		t.Errorf("modules sum to %g ms", sum)
	}
	if len(f.ProfileDiffs) != 1 {
		t.Fatalf("diffs: %+v", f.ProfileDiffs)
	}
	d := f.ProfileDiffs[0]
	if d.FromVersion != "7" || d.ToVersion != "8" || d.FromMS != 240 || d.ToMS != 480 || d.Changes[0].Name != "sharp" || d.Changes[0].DeltaMS != 235 {
		t.Errorf("diff %+v", d)
	}
}

func TestDeployAndInsideFindings(t *testing.T) {
	r := profiledReport(t)
	claims := map[string]string{}
	for _, f := range r.Findings {
		claims[f.ID] = f.Claim
	}
	if got, want := claims["deploy-packages"], "The deploy of version 8 added 240 ms to the init: sharp 0.33.4 (+235 ms), imported from src/index.js"; !strings.HasPrefix(got, want) {
		t.Errorf("claim %q", got)
	}
	if got, want := claims["init-inside"], "Init timed out inside src/slow.js."; got != want {
		t.Errorf("claim %q", got)
	}
}

// A store that is no collector of ours has no profiles, and that is no error.
func TestNoEvidence(t *testing.T) {
	s := newStore(t)
	sim := simulate("thumbnail", "8", 512)
	sim.invoke(call{start: "cold", environment: "1", duration: .1, billed: .1, init: .5, memoryMB: 60})
	s.write("collector-1", minutes(59), sim)
	r := build(t, s, Options{Start: minutes(0), End: minutes(60)})
	if f := r.Functions[0]; len(f.Profiles) != 0 || len(f.Packages) != 0 {
		t.Errorf("%+v", f.Profiles)
	}
}

func TestProfileFormats(t *testing.T) {
	r := profiledReport(t)
	html := string(render(t, r, HTML, TextOptions{}))
	md := string(render(t, r, Markdown, TextOptions{}))
	text := string(render(t, r, Text, TextOptions{Width: 160}))
	for name, out := range map[string]string{"html": html, "md": md, "text": text} {
		if !strings.Contains(out, "sharp") || !strings.Contains(out, "235 ms") {
			t.Errorf("%s does not name the package", name)
		}
		if strings.Contains(out, "<img src=x") {
			t.Errorf("%s has a module's name as markup", name)
		}
	}
	if p := r.Functions[0].Profiles[0].Export("thumbnail"); p == nil || p.Tree == nil {
		t.Error("nothing to export")
	}
}
