package dashboards

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/thaw-lambda/thaw/internal/metric"
)

var update = flag.Bool("update", false, "write the JSON of the dashboards")

func TestJSONIsCurrent(t *testing.T) {
	for _, d := range All() {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(d.File, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(d.File)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code makes: run go generate ./dashboards", d.File)
		}
	}
}

// Every number has to say what it is, how it was obtained and in which unit,
// and every kind of panel has to exist in a current Grafana.
func TestPanelsAreExplained(t *testing.T) {
	kinds := []string{"stat", "timeseries", "table", "heatmap", "bargauge", "barchart"}
	for _, d := range All() {
		if d.Title == "" || d.Description == "" || d.UID == "" || d.Timezone != "utc" || !slices.Contains(d.Tags, "thaw") {
			t.Errorf("%s has no title, description, uid, tag or time zone", d.File)
		}
		titles := map[string]bool{}
		for _, p := range d.Panels {
			if p.Title == "" || titles[p.Title] {
				t.Errorf("%s: the title %q is empty or used twice", d.UID, p.Title)
			}
			titles[p.Title] = true
			if p.Type == "row" {
				continue
			}
			if !slices.Contains(kinds, p.Type) {
				t.Errorf("%s: %s is a %s", d.UID, p.Title, p.Type)
			}
			if len(p.Description) < 40 || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s: %s does not say what it shows", d.UID, p.Title)
			}
			if unitOf(p) == "" {
				t.Errorf("%s: %s has no unit", d.UID, p.Title)
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: %s asks nothing", d.UID, p.Title)
			}
		}
	}
}

func unitOf(p Panel) string {
	if p.Type == "heatmap" {
		return p.Options["yAxis"].(Object)["unit"].(string)
	}
	return p.FieldConfig.Defaults.Unit
}

func TestGridHoldsPanels(t *testing.T) {
	for _, d := range All() {
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("%s: the id %d of %s is used twice", d.UID, p.ID, p.Title)
			}
			ids[p.ID] = true
			g := p.GridPos
			if g.W <= 0 || g.H <= 0 || g.X < 0 || g.Y < 0 || g.X+g.W > gridWidth {
				t.Errorf("%s: %s does not fit in the grid: %+v", d.UID, p.Title, g)
			}
			for _, q := range d.Panels[:i] {
				o := q.GridPos
				if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
					t.Errorf("%s: %s and %s overlap", d.UID, p.Title, q.Title)
				}
			}
		}
	}
}

// A link leads to a dashboard of ours, and hands over variables that it has.
func TestLinksLead(t *testing.T) {
	variables := map[string][]string{}
	for _, d := range All() {
		for _, v := range d.Templating.List {
			variables[d.UID] = append(variables[d.UID], v.Name)
		}
	}
	handed := regexp.MustCompile(`[?&]var-(\w+)=|\$\{(\w+):queryparam\}`)
	for _, d := range All() {
		links := linksOf(t, d)
		if len(links) == 0 {
			t.Errorf("%s leads nowhere", d.UID)
		}
		for _, l := range links {
			uid, ok := strings.CutPrefix(l.URL, "/d/")
			uid, _, _ = strings.Cut(uid, "?")
			if !ok || variables[uid] == nil || uid == d.UID {
				t.Errorf("%s: %q leads to %s", d.UID, l.Title, l.URL)
			}
			for _, m := range handed.FindAllStringSubmatch(l.URL, -1) {
				if name := m[1] + m[2]; !slices.Contains(variables[uid], name) {
					t.Errorf("%s: %q hands over %s, which %s has not", d.UID, l.Title, name, uid)
				}
			}
		}
	}
}

func linksOf(t *testing.T, d Dashboard) []Link {
	t.Helper()
	out := slices.Clone(d.Links)
	for _, p := range d.Panels {
		if p.FieldConfig == nil {
			continue
		}
		out = append(out, p.FieldConfig.Defaults.Links...)
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if property["id"] == "links" {
					out = append(out, property["value"].([]Link)...)
				}
			}
		}
	}
	return out
}

// The table of functions is joined, renamed and linked by the names of its
// columns, which Grafana does not check.
func TestColumnsAreThere(t *testing.T) {
	for _, d := range All() {
		for _, p := range d.Panels {
			if p.Type != "table" && p.Type != "barchart" {
				continue
			}
			names := map[string]bool{}
			for _, transformation := range p.Transformations {
				if transformation["id"] != "organize" {
					continue
				}
				for _, name := range transformation["options"].(Object)["renameByName"].(Object) {
					names[name.(string)] = true
				}
			}
			for _, transformation := range p.Transformations {
				if transformation["id"] != "sortBy" {
					continue
				}
				if field := transformation["options"].(Object)["sort"].([]Object)[0]["field"].(string); !names[field] {
					t.Errorf("%s: %s is sorted by %q, which it has not", d.UID, p.Title, field)
				}
			}
			for _, o := range p.FieldConfig.Overrides {
				if field := o.Matcher["options"].(string); !names[field] {
					t.Errorf("%s: %s overrides %q, which it has not", d.UID, p.Title, field)
				}
			}
		}
	}
}

// Every variable in a query is one of the dashboard, and each variable that
// selects restricts those after it.
func TestVariablesAreChained(t *testing.T) {
	for _, d := range All() {
		declared := map[string]bool{"__range": true, "__interval": true, "__rate_interval": true}
		var chain []string
		for _, v := range d.Templating.List {
			if v.Description == "" || v.Label == "" {
				t.Errorf("%s: the variable %s says nothing", d.UID, v.Name)
			}
			if v.Type == "query" {
				for _, earlier := range chain {
					if !strings.Contains(v.Definition, `"$`+earlier+`"`) {
						t.Errorf("%s: the variable %s does not depend on %s", d.UID, v.Name, earlier)
					}
				}
				chain = append(chain, v.Name)
				checkLabelValues(t, v.Definition)
			}
			declared[v.Name] = true
		}
		for _, q := range d.Queries() {
			for _, m := range variable.FindAllStringSubmatch(q.Expr, -1) {
				if name := m[1] + m[2]; !declared[name] {
					t.Errorf("%s: %s uses the variable %s, which is not declared", d.UID, q.Panel, name)
				}
			}
		}
	}
}

func checkLabelValues(t *testing.T, definition string) {
	t.Helper()
	m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(definition)
	if m == nil {
		t.Fatalf("%s is not a query for the values of a label", definition)
	}
	checkQuery(t, m[1])
	if !known(m[2], metric.Invocations) {
		t.Errorf("%s: there is no label %s", definition, m[2])
	}
}

func TestQueriesAskForWhatThereIs(t *testing.T) {
	for _, d := range All() {
		for _, q := range d.Queries() {
			if q.Instant == q.Range {
				t.Errorf("%s: %s has a query that is neither instant nor over time", q.Dashboard, q.Panel)
			}
			if q.Instant && strings.Contains(q.Expr, oneStep) || q.Range && strings.Contains(q.Expr, wholeRange) {
				t.Errorf("%s: %s counts over a step in an instant query, or over the range in one over time", q.Dashboard, q.Panel)
			}
			checkQuery(t, q.Expr)
			if t.Failed() {
				t.Fatalf("%s: %s", q.Dashboard, q.Panel)
			}
		}
	}
	f := func(legend string) {
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(legend, -1) {
			if !known(m[1], metric.All()...) {
				t.Errorf("the legend %q names a label that no metric has", legend)
			}
		}
	}
	for _, d := range All() {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				f(target.LegendFormat)
			}
		}
	}
}

// checkQuery parses a query and looks up every metric and every label in it.
func checkQuery(t *testing.T, expr string) {
	t.Helper()
	interpolated := Interpolate(expr, nil)
	if strings.Contains(interpolated, "$") {
		t.Errorf("%s: variables are left", interpolated)
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(interpolated)
	if err != nil {
		t.Fatalf("%s: %v", interpolated, err)
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			d, ok := definition(n.Name)
			if !ok {
				t.Errorf("%s: there is no metric %s", expr, n.Name)
			}
			for _, m := range n.LabelMatchers {
				if m.Name != "__name__" && !known(m.Name, d) {
					t.Errorf("%s: %s has no label %s", expr, n.Name, m.Name)
				}
			}
		case *parser.AggregateExpr:
			checkGroups(t, n, n.Grouping)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				checkGroups(t, n, n.VectorMatching.MatchingLabels)
				checkGroups(t, n, n.VectorMatching.Include)
			}
		case *parser.Call:
			if slices.Contains([]string{"increase", "rate", "irate", "delta", "idelta"}, n.Func.Name) {
				t.Errorf("%s: %s extrapolates, or misses what a series begins with", expr, n.Func.Name)
			}
		}
		return nil
	})
}

// checkGroups fails if a label is on none of the metrics below a node.
func checkGroups(t *testing.T, node parser.Node, labels []string) {
	t.Helper()
	var metrics []metric.Definition
	parser.Inspect(node, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			d, _ := definition(s.Name)
			metrics = append(metrics, d)
		}
		return nil
	})
	for _, label := range labels {
		if !known(label, metrics...) {
			t.Errorf("%s: none of the metrics has the label %s", node, label)
		}
	}
}

func definition(name string) (metric.Definition, bool) {
	for _, d := range metric.All() {
		if d.Prometheus() == name {
			return d, true
		}
	}
	return metric.Definition{}, false
}

func known(label string, metrics ...metric.Definition) bool {
	for _, d := range metrics {
		attributes := append([]string{metric.LabelInstance}, d.Labels...)
		if !d.PerCollector {
			attributes = append(attributes, metric.Common()...)
		}
		for _, a := range attributes {
			if metric.Label(a) == label {
				return true
			}
		}
	}
	return false
}

func TestInterpolate(t *testing.T) {
	vars := map[string]string{"function": `a|b\.c`, "version": `\$LATEST`, "__range": "6h"}
	f := func(expr, want string) {
		t.Helper()
		if got := Interpolate(expr, vars); got != want {
			t.Errorf("Interpolate(%s) = %s, want %s", expr, got, want)
		}
	}
	f(`x{f=~"$function"}`, `x{f=~"a|b\\.c"}`)
	f(`x{v=~"${version:regex}"}`, `x{v=~"\\$LATEST"}`)
	f(`x offset $__range`, `x offset 6h`)
	f(`x offset $__interval`, `x offset 1m`)
	f(`x{a=~"$account"} * $price_x86`, `x{a=~".*"} * 0.0000166667`)
	f(`x{y="$unheard"}`, `x{y="$unheard"}`)
}
