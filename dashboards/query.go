package dashboards

import (
	"regexp"
	"strings"
)

// Query is one query of one panel, with Grafana's variables still in it.
type Query struct {
	// Dashboard is the uid, Panel the title.
	Dashboard, Panel string
	// Expr is in PromQL. See [Interpolate].
	Expr string
	// Instant queries are asked at the end of the range of the dashboard, Range
	// queries at every step of it. Every query is one of the two.
	Instant, Range bool
}

// Queries returns the queries of all panels, in their order.
func (d Dashboard) Queries() []Query {
	var out []Query
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			out = append(out, Query{d.UID, p.Title, t.Expr, t.Instant, t.Range})
		}
	}
	return out
}

var variable = regexp.MustCompile(`\$(\w+)|\$\{(\w+)(?::\w+)?\}`)

// Interpolate replaces the variables in a query as Grafana does. vars maps
// names without the dollar to values; those that select series are regular
// expressions, and are quoted here as a string in PromQL wants it.
//
// A variable that vars does not name has its default: everything for one that
// can select everything, an hour for $__range, a minute for $__interval, 5
// minutes for $__rate_interval, and the prices of us-east-1. Account, region
// and function have no default on the dashboard of one function, which matches
// them exactly: there they must be given.
func Interpolate(expr string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(expr, func(v string) string {
		name := strings.TrimLeft(v, "${")
		name, _, _ = strings.Cut(strings.TrimSuffix(name, "}"), ":")
		value, ok := vars[name]
		if !ok {
			if value, ok = defaults[name]; !ok {
				return v
			}
		}
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	})
}

// defaults of the variables, see [Interpolate].
var defaults = map[string]string{
	"__range": "1h", "__interval": "1m", "__rate_interval": "5m",
	"account": everything, "region": everything, "function": everything, "version": everything, "memory": everything,
	"price_x86": priceX86, "price_arm": priceARM, "price_requests": priceRequests,
}
