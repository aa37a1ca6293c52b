package dashboards

import (
	"encoding/json"
	"fmt"
)

// This file is the part of Grafana's dashboard schema that Thaw uses, and
// nothing of it knows what the panels are about.

// schemaVersion is that of Grafana 12; Grafana 11 reads it too.
const schemaVersion = 41

const gridWidth = 24

// Object is a part of the schema with too many fields to be worth a type.
type Object = map[string]any

// Dashboard is one dashboard, as Grafana imports it.
type Dashboard struct {
	// File is the name of its JSON in this folder.
	File string `json:"-"`

	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	SchemaVersion int        `json:"schemaVersion"`
	Version       int        `json:"version"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"`
	Timezone      string     `json:"timezone"`
	Time          Object     `json:"time"`
	Refresh       string     `json:"refresh"`
	Templating    Templating `json:"templating"`
	Annotations   Object     `json:"annotations"`
	Links         []Link     `json:"links"`
	Panels        []Panel    `json:"panels"`
}

// Templating holds the variables of a dashboard.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is one variable of a dashboard.
type Variable struct {
	Name        string      `json:"name"`
	Label       string      `json:"label"`
	Description string      `json:"description"`
	Type        string      `json:"type"`
	Datasource  *Datasource `json:"datasource,omitempty"`
	Definition  string      `json:"definition,omitempty"`
	Query       any         `json:"query"`
	Refresh     int         `json:"refresh,omitempty"`
	Regex       string      `json:"regex"`
	Sort        int         `json:"sort,omitempty"`
	Multi       bool        `json:"multi"`
	IncludeAll  bool        `json:"includeAll"`
	AllValue    string      `json:"allValue,omitempty"`
	Hide        int         `json:"hide"`
	Current     Object      `json:"current"`
	Options     []Object    `json:"options"`
}

// Datasource refers to a data source.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Link leads to another dashboard: from the head of a dashboard, or from a
// value in a panel.
type Link struct {
	Title       string   `json:"title"`
	URL         string   `json:"url"`
	Type        string   `json:"type,omitempty"`
	Icon        string   `json:"icon,omitempty"`
	Tooltip     string   `json:"tooltip,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	KeepTime    bool     `json:"keepTime,omitempty"`
	IncludeVars bool     `json:"includeVars,omitempty"`
	TargetBlank bool     `json:"targetBlank,omitempty"`
}

// Panel is one panel, or the heading of a row of them.
type Panel struct {
	ID              int          `json:"id"`
	Type            string       `json:"type"`
	Title           string       `json:"title"`
	Description     string       `json:"description,omitempty"`
	GridPos         GridPos      `json:"gridPos"`
	Datasource      *Datasource  `json:"datasource,omitempty"`
	Interval        string       `json:"interval,omitempty"`
	Targets         []Target     `json:"targets,omitempty"`
	FieldConfig     *FieldConfig `json:"fieldConfig,omitempty"`
	Options         Object       `json:"options,omitempty"`
	Transformations []Object     `json:"transformations,omitempty"`
	// Of rows only.
	Collapsed *bool    `json:"collapsed,omitempty"`
	Panels    *[]Panel `json:"panels,omitempty"`
}

// GridPos is where a panel stands. The grid is 24 wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Datasource   *Datasource `json:"datasource"`
	Expr         string      `json:"expr"`
	Instant      bool        `json:"instant"`
	Range        bool        `json:"range"`
	Format       string      `json:"format"`
	LegendFormat string      `json:"legendFormat,omitempty"`
	EditorMode   string      `json:"editorMode"`
}

// FieldConfig says how values look.
type FieldConfig struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// Field is how one field, or every field, looks.
type Field struct {
	Unit       string   `json:"unit,omitempty"`
	Decimals   *int     `json:"decimals,omitempty"`
	Min        *float64 `json:"min,omitempty"`
	Max        *float64 `json:"max,omitempty"`
	NoValue    string   `json:"noValue,omitempty"`
	Color      Object   `json:"color,omitempty"`
	Thresholds Object   `json:"thresholds,omitempty"`
	Mappings   []Object `json:"mappings,omitempty"`
	Links      []Link   `json:"links,omitempty"`
	Custom     Object   `json:"custom,omitempty"`
}

// Override changes the look of the fields that its matcher selects.
type Override struct {
	Matcher    Object   `json:"matcher"`
	Properties []Object `json:"properties"`
}

// JSON returns the dashboard as the committed file holds it.
func (d Dashboard) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(d, "", "  ")
	return append(b, '\n'), err
}

// source is the data source that the dashboard's variable selects.
func source() *Datasource { return &Datasource{"prometheus", "${datasource}"} }

// look is what the constructors of panels have in common: what a person has to
// be told of a number, and in what it is measured.
type look struct {
	title, text string
	// unit is one of Grafana's.
	unit string
	w, h int
}

func (l look) panel(kind string, targets []Target) Panel {
	for i := range targets {
		targets[i].RefID = string(rune('A' + i))
	}
	return Panel{
		Type: kind, Title: l.title, Description: l.text, Datasource: source(), Targets: targets,
		GridPos:     GridPos{W: l.w, H: l.h},
		FieldConfig: &FieldConfig{Defaults: Field{Unit: l.unit, NoValue: "no data"}, Overrides: []Override{}},
	}
}

// now is a query for one value at the end of the range.
func now(legend, expr string) Target {
	return Target{Datasource: source(), Expr: expr, Instant: true, Format: "time_series", LegendFormat: legend, EditorMode: "code"}
}

// over is a query for values over time.
func over(legend, expr string) Target {
	return Target{Datasource: source(), Expr: expr, Range: true, Format: "time_series", LegendFormat: legend, EditorMode: "code"}
}

// stat shows one number, in the colour of the threshold that it has passed.
func stat(l look, expr string, limits Object) Panel {
	l.w, l.h = max(l.w, 3), max(l.h, 4)
	p := l.panel("stat", []Target{now("", expr)})
	p.FieldConfig.Defaults.Color = Object{"mode": "thresholds"}
	p.FieldConfig.Defaults.Thresholds = limits
	p.Options = Object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true,
		"reduceOptions": Object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// limits are thresholds: green, yellow from warn on, red from bad on.
func limits(warn, bad float64) Object {
	return Object{"mode": "absolute", "steps": []Object{
		{"color": "green", "value": nil}, {"color": "yellow", "value": warn}, {"color": "red", "value": bad},
	}}
}

// plain are no thresholds, for numbers that are neither good nor bad.
func plain() Object {
	return Object{"mode": "absolute", "steps": []Object{{"color": "blue", "value": nil}}}
}

// series is the base of the charts over time.
func series(l look, custom Object, targets []Target) Panel {
	l.w, l.h = max(l.w, 12), max(l.h, 8)
	p := l.panel("timeseries", targets)
	p.Interval = "1m"
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Color = Object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = custom
	p.Options = Object{
		"legend":  Object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": Object{"mode": "multi", "sort": "desc"},
	}
	return p
}

// lines shows values over time. A value without neighbours is a point, so that
// a rare event can be seen.
func lines(l look, targets ...Target) Panel {
	return series(l, Object{
		"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 0,
		"showPoints": "auto", "pointSize": 5, "spanNulls": false, "axisPlacement": "auto",
		"stacking": Object{"mode": "none", "group": "A"},
	}, targets)
}

// bars shows what happened in each step, stacked.
func bars(l look, targets ...Target) Panel {
	return series(l, Object{
		"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "barAlignment": -1,
		"showPoints": "never", "spanNulls": false, "axisPlacement": "auto",
		"stacking": Object{"mode": "normal", "group": "A"},
	}, targets)
}

// heatmap shows a native histogram over time. Grafana takes the cells from the
// buckets as they come, so the query must give one series.
func heatmap(l look, expr string) Panel {
	l.w, l.h = max(l.w, 12), max(l.h, 8)
	t := over("", expr)
	t.Format = "heatmap"
	p := l.panel("heatmap", []Target{t})
	p.Interval = "1m"
	p.FieldConfig.Defaults.Unit = "short"
	p.Options = Object{
		"calculate":    false,
		"cellGap":      1,
		"cellValues":   Object{"unit": "short"},
		"color":        Object{"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false},
		"exemplars":    Object{"color": "rgba(255,0,255,0.7)"},
		"filterValues": Object{"le": 1e-9},
		"legend":       Object{"show": true},
		"rowsFrame":    Object{"layout": "auto"},
		"showValue":    "never",
		"tooltip":      Object{"mode": "single", "yHistogram": true, "showColorScale": false},
		"yAxis":        Object{"axisPlacement": "left", "reverse": false, "unit": l.unit},
	}
	return p
}

// gauges shows one bar a series, in the order of the answer: topk sorts it.
func gauges(l look, target Target, limits Object, links ...Link) Panel {
	l.w, l.h = max(l.w, 12), max(l.h, 9)
	p := l.panel("bargauge", []Target{target})
	zero := 0.0
	d := &p.FieldConfig.Defaults
	d.Min, d.Color, d.Thresholds, d.Links = &zero, Object{"mode": "thresholds"}, limits, links
	p.Options = Object{
		"displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color", "namePlacement": "left",
		"minVizHeight": 10, "minVizWidth": 8, "maxVizHeight": 40, "sizing": "auto",
		"reduceOptions": Object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// column is a column of a table: a label that rows are told apart by, or the
// value of a query.
type column struct {
	name  string
	label string
	expr  string
	unit  string
	// limits colour the text of the cell.
	limits Object
	links  []Link
	// number says that a label is a number.
	number bool
}

// table joins the values of instant queries on their labels, one row for each
// set of labels, the largest value of the column named order first.
func table(l look, order string, columns ...column) Panel {
	l.w, l.h = max(l.w, 12), max(l.h, 8)
	p := l.panel("table", nil)
	p.FieldConfig.Defaults.NoValue = "–"
	p.FieldConfig.Defaults.Custom = Object{"align": "auto", "cellOptions": Object{"type": "auto"}, "filterable": true, "inspect": false}
	p.Options = Object{"showHeader": true, "cellHeight": "sm", "footer": Object{"show": false, "reducer": []string{"sum"}, "countRows": false, "fields": ""}}
	p.Transformations = joined(&p, columns)
	if order != "" {
		p.Transformations = append(p.Transformations, Object{"id": "sortBy", "options": Object{"sort": []Object{{"field": order, "desc": true}}}})
	}
	for _, c := range columns {
		var set []Object
		add := func(id string, value any) { set = append(set, Object{"id": id, "value": value}) }
		if c.unit != "" {
			add("unit", c.unit)
		}
		if c.limits != nil {
			add("thresholds", c.limits)
			add("custom.cellOptions", Object{"type": "color-text"})
			add("color", Object{"mode": "thresholds"})
		}
		if c.links != nil {
			add("links", c.links)
		}
		if set != nil {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Object{"id": "byName", "options": c.name}, set})
		}
	}
	return p
}

// joined adds the queries of the columns to a panel, and returns the
// transformations that make one table of their results.
func joined(p *Panel, columns []column) []Object {
	indexes, names := Object{}, Object{}
	var numbers []Object
	hidden := Object{"Time": true}
	for i, c := range columns {
		field := c.label
		if c.expr != "" {
			t := now("", c.expr)
			t.Format = "table"
			t.RefID = string(rune('A' + len(p.Targets)))
			field = "Value #" + t.RefID
			p.Targets = append(p.Targets, t)
		}
		indexes[field], names[field] = i, c.name
		if c.number {
			numbers = append(numbers, Object{"targetField": field, "destinationType": "number"})
		}
	}
	// Grafana calls the value of a lone query differently.
	if len(p.Targets) == 1 {
		indexes["Value"], names["Value"] = indexes["Value #A"], names["Value #A"]
	}
	out := []Object{{"id": "merge", "options": Object{}}}
	if numbers != nil {
		out = append(out, Object{"id": "convertFieldType", "options": Object{"conversions": numbers, "fields": Object{}}})
	}
	return append(out, Object{"id": "organize", "options": Object{"excludeByName": hidden, "indexByName": indexes, "renameByName": names}})
}

// chart draws columns over the first of them, which is a label that is a
// number, in the order of that number.
func chart(l look, columns ...column) Panel {
	l.w, l.h = max(l.w, 12), max(l.h, 8)
	p := l.panel("barchart", nil)
	x := columns[0].name
	p.Transformations = append(joined(&p, columns),
		Object{"id": "sortBy", "options": Object{"sort": []Object{{"field": x, "desc": false}}}},
		Object{"id": "convertFieldType", "options": Object{"conversions": []Object{{"targetField": x, "destinationType": "string"}}, "fields": Object{}}})
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Color = Object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = Object{"axisPlacement": "auto", "fillOpacity": 80, "lineWidth": 0}
	p.Options = Object{
		"xField": x, "orientation": "vertical", "stacking": "none", "showValue": "auto", "groupWidth": 0.7, "barWidth": 0.9,
		"legend":  Object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": Object{"mode": "multi", "sort": "none"},
	}
	return p
}

// colour gives the series of a name the same colour everywhere.
func (p Panel) colour(pairs ...string) Panel {
	for i := 0; i+1 < len(pairs); i += 2 {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
			Object{"id": "byName", "options": pairs[i]},
			[]Object{{"id": "color", "value": Object{"mode": "fixed", "fixedColor": pairs[i+1]}}},
		})
	}
	return p
}

// row is a heading with the panels below it.
type row struct {
	title  string
	panels []Panel
}

// lay places rows of panels on the grid, from left to right and from top to
// bottom, and numbers them.
func lay(rows ...row) []Panel {
	var out []Panel
	add := func(p Panel, x, y int) {
		p.ID, p.GridPos.X, p.GridPos.Y = len(out)+1, x, y
		out = append(out, p)
	}
	y := 0
	for _, r := range rows {
		open := false
		add(Panel{Type: "row", Title: r.title, Collapsed: &open, Panels: &[]Panel{}, GridPos: GridPos{H: 1, W: gridWidth}}, 0, y)
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.GridPos.W > gridWidth {
				x, y, height = 0, y+height, 0
			}
			add(p, x, y)
			x, height = x+p.GridPos.W, max(height, p.GridPos.H)
		}
		y += height
	}
	return out
}

// choice is a variable that label_values fills.
func choice(name, label, text, query string, many bool) Variable {
	v := Variable{
		Name: name, Label: label, Description: text, Type: "query", Datasource: source(), Definition: query,
		Query:   Object{"qryType": 1, "query": query, "refId": fmt.Sprintf("variable-%s", name)},
		Refresh: 2, Sort: 1, Options: []Object{}, Current: Object{},
	}
	if many {
		v.Multi, v.IncludeAll, v.AllValue = true, true, everything
		v.Current = Object{"text": []string{"All"}, "value": []string{"$__all"}}
	}
	return v
}

// everything is the regular expression of a variable that selects all.
const everything = ".*"

// entry is a variable that a person may type another value into.
func entry(name, label, text, value string) Variable {
	current := Object{"text": value, "value": value}
	return Variable{
		Name: name, Label: label, Description: text, Type: "textbox", Query: value, Current: current,
		Options: []Object{{"selected": true, "text": value, "value": value}},
	}
}
