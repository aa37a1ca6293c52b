package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/thaw-lambda/thaw/dashboards"
	"github.com/thaw-lambda/thaw/emulator"
)

// Every query of every panel is answered by the store that a run filled, and
// shows what the ledger knows.
func TestDashboards(t *testing.T) {
	w := newWorld(t)
	w.deploy("flaky", 128)
	w.deploy("flaky", 256)
	w.deploy("audit-log", 256)
	for range 2 {
		for _, mode := range []string{"ok", "error", "exit", "ok", "timeout", "ok"} {
			w.invoke("flaky", 128, fmt.Sprintf(`{"mode":%q}`, mode))
			w.invoke("flaky", 256, `{"mode":"ok"}`)
		}
		for range 5 {
			w.invoke("audit-log", 256, eventOf(t, "audit-log"))
		}
		w.recycle("audit-log", 256)
	}
	w.drain()
	ledger := w.lambda.Ledger()

	client, err := api.NewClient(api.Config{Address: w.collector.API})
	if err != nil {
		t.Fatal(err)
	}
	d := &asker{t: t, api: promv1.NewAPI(client), at: time.Now()}
	claims := panels()
	for _, dashboard := range dashboards.All() {
		shown := ""
		if dashboard.UID == "thaw-function" {
			shown = d.vars()["function"]
		}
		d.compare(dashboard, claims, truthOf(ledger, shown))
	}
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
