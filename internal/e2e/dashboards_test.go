package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/thaw-lambda/thaw/dashboards"
	"github.com/thaw-lambda/thaw/emulator"
	"github.com/thaw-lambda/thaw/internal/metric"
)

// Every query of every panel is answered by the store that a run filled, and
// those panels that show what the ledger knows show the same.
func TestDashboards(t *testing.T) {
	w := newWorld(t)
	w.deploy("flaky", 128)
	w.deploy("audit-log", 256)
	for range 2 {
		for _, mode := range []string{"ok", "error", "exit", "ok", "timeout", "ok"} {
			w.invoke("flaky", 128, fmt.Sprintf(`{"mode":%q}`, mode))
		}
		for range 5 {
			w.invoke("audit-log", 256, eventOf(t, "audit-log"))
		}
		w.recycle("audit-log", 256)
	}
	w.drain()
	truth := w.lambda.Ledger().Summary()

	client, err := api.NewClient(api.Config{Address: w.collector.API})
	if err != nil {
		t.Fatal(err)
	}
	d := &asker{t: t, api: promv1.NewAPI(client), at: time.Now()}
	for _, dashboard := range dashboards.All() {
		queries := dashboard.Queries()
		if len(queries) < 20 {
			t.Errorf("%s has only %d queries", dashboard.UID, len(queries))
		}
		for _, q := range queries {
			d.ask(q)
		}
	}
	fleet := func(panel string, m metric.Definition, f func(emulator.Totals) int) {
		t.Helper()
		d.agree("thaw-fleet", panel, m, sum(truth, "", f))
	}
	fleet("Invocations", metric.Invocations, func(t emulator.Totals) int { return t.Invocations })
	fleet("Cold starts", metric.ColdStarts, func(t emulator.Totals) int { return t.ColdStarts })
	fleet("Functions", metric.Invocations, func(t emulator.Totals) int { return t.Invocations })
	fleet("Functions", metric.ColdStarts, func(t emulator.Totals) int { return t.ColdStarts })
	fleet("Functions", metric.Errors, func(t emulator.Totals) int { return t.Errors })
	fleet("Functions", metric.Timeouts, func(t emulator.Totals) int { return t.Timeouts })

	flaky := func(panel string, m metric.Definition, f func(emulator.Totals) int) {
		t.Helper()
		d.agree("thaw-function", panel, m, sum(truth, "flaky", f))
	}
	flaky("Invocations", metric.Invocations, func(t emulator.Totals) int { return t.Invocations })
	flaky("Cold starts", metric.ColdStarts, func(t emulator.Totals) int { return t.ColdStarts })
	flaky("Failures of the range", metric.Errors, func(t emulator.Totals) int { return t.Errors })
}

// sum adds f over the ledger's entries of a function, or of all.
func sum(truth []emulator.Totals, function string, f func(emulator.Totals) int) int {
	n := 0
	for _, totals := range truth {
		if function == "" || function == totals.Function {
			n += f(totals)
		}
	}
	return n
}

// asker asks queries as Grafana does, for the hour up to at.
type asker struct {
	t   *testing.T
	api promv1.API
	at  time.Time
}

func (d *asker) vars() map[string]string {
	return map[string]string{
		"account": emulator.DefaultAccountID, "region": emulator.DefaultRegion, "function": "flaky",
		"version": ".*", "memory": ".*", "__range": "1h", "__interval": "1m", "__rate_interval": "5m",
	}
}

// fleetVars selects every function, as the fleet's dashboard does at first.
func (d *asker) fleetVars() map[string]string {
	v := d.vars()
	v["function"] = ".*"
	return v
}

func (d *asker) expr(q dashboards.Query) string {
	if q.Dashboard == "thaw-fleet" {
		return dashboards.Interpolate(q.Expr, d.fleetVars())
	}
	return dashboards.Interpolate(q.Expr, d.vars())
}

func (d *asker) ask(q dashboards.Query) model.Value {
	d.t.Helper()
	expr := d.expr(q)
	if strings.Contains(expr, "$") {
		d.t.Errorf("%s, %s: a variable is left in %s", q.Dashboard, q.Panel, expr)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	var (
		value    model.Value
		warnings promv1.Warnings
		err      error
	)
	if q.Range {
		value, warnings, err = d.api.QueryRange(ctx, expr, promv1.Range{Start: d.at.Add(-time.Hour), End: d.at, Step: time.Minute})
	} else {
		value, warnings, err = d.api.Query(ctx, expr, d.at)
	}
	if err != nil || len(warnings) > 0 {
		d.t.Errorf("%s, %s: %v %v\n%s", q.Dashboard, q.Panel, err, warnings, expr)
	}
	return value
}

// agree asks the panel's first instant query of a metric, and compares the sum
// of what it answers.
func (d *asker) agree(dashboard, panel string, m metric.Definition, want int) {
	d.t.Helper()
	for _, each := range dashboards.All() {
		for _, q := range each.Queries() {
			if q.Dashboard != dashboard || q.Panel != panel || !q.Instant || !strings.Contains(q.Expr, m.Prometheus()) {
				continue
			}
			got := 0.0
			vector, _ := d.ask(q).(model.Vector)
			for _, sample := range vector {
				got += float64(sample.Value)
			}
			if math.Abs(got-float64(want)) > 1e-6 {
				d.t.Errorf("%s, %s shows %v of %s, the ledger says %d", dashboard, panel, got, m.Name, want)
			}
			return
		}
	}
	d.t.Errorf("%s has no panel %q with an instant query of %s", dashboard, panel, m.Name)
}
