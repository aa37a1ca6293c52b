package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// schemaOf describes a Go type as its JSON.
func schemaOf(t reflect.Type, definitions map[string]any) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		return schemaOf(t.Elem(), definitions)
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := schemaOf(t.Elem(), definitions)
		inner["type"] = []any{inner["type"], "null"}
		return inner
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), definitions)}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Struct:
		if _, ok := definitions[t.Name()]; !ok {
			definitions[t.Name()] = nil
			definitions[t.Name()] = objectOf(t, definitions)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	}
	panic("the schema cannot describe " + t.String())
}

func objectOf(t reflect.Type, definitions map[string]any) map[string]any {
	properties, required := map[string]any{}, []any{}
	for field := range t.Fields() {
		if !field.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := schemaOf(field.Type, definitions)
		if text := unitOf(name); text != "" {
			property["description"] = text
		}
		properties[name] = property
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// unitOf says what the name of a field says about its unit.
func unitOf(name string) string {
	for suffix, text := range map[string]string{
		"_ms": "milliseconds", "_mb": "megabytes of 2^20 bytes", "_usd": "US dollars", "_usd_interval": "US dollars", "_gb_seconds": "GB-seconds",
		"_seconds": "seconds", "_rate": "share from 0 to 1 with its Wilson 95 % interval",
	} {
		if strings.HasSuffix(name, "_low") || strings.HasSuffix(name, "_high") {
			return "end of the 95 % interval; null where the data has none"
		}
		if strings.HasSuffix(name, suffix) && !(suffix == "_seconds" && strings.HasSuffix(name, "_gb_seconds")) {
			return text
		}
	}
	return map[string]string{
		"have": "number of values there are", "need": "number of values that every null here waits for; 0 when there is none",
		"p50": "median; null below its floor", "p95": "95th percentile; null below its floor", "share": "from 0 to 1",
		"basis": "measured, derived or predicted",
	}[name]
}

func TestSchemaIsThatOfTheTypes(t *testing.T) {
	definitions := map[string]any{}
	root := objectOf(reflect.TypeFor[Report](), definitions)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Thaw report"
	root["$defs"] = definitions
	root["properties"].(map[string]any)["schema_version"] = map[string]any{"const": SchemaVersion}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != Schema() {
		t.Error("schema.json is not that of the types; go test -update writes it anew")
	}
}

// The reports of the tests are valid, an altered one is not.
func TestReportsAreValid(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal([]byte(Schema()), &s); err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(render(t, example(t), JSON, TextOptions{}), &value); err != nil {
		t.Fatal(err)
	}
	if err := validate(s, s, value, "report"); err != nil {
		t.Error(err)
	}
	value["functions"].([]any)[0].(map[string]any)["invocations"] = "many"
	if validate(s, s, value, "report") == nil {
		t.Error("a string is an integer")
	}
	delete(value, "findings")
	if validate(s, s, value, "report") == nil {
		t.Error("a field is missing")
	}
}

// validate checks the keywords that schema.json uses.
func validate(root, s map[string]any, value any, path string) error {
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if want, ok := s["const"]; ok && want != value {
		return fmt.Errorf("%s = %v, want %v", path, value, want)
	}
	if !hasType(s["type"], value) {
		return fmt.Errorf("%s: %v is not a %v", path, value, s["type"])
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range s["required"].([]any) {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s has no %s", path, name)
			}
		}
		properties := s["properties"].(map[string]any)
		for name, inner := range v {
			property, ok := properties[name].(map[string]any)
			if !ok {
				return fmt.Errorf("%s.%s is not in the schema", path, name)
			}
			if err := validate(root, property, inner, path+"."+name); err != nil {
				return err
			}
		}
	case []any:
		for i, inner := range v {
			if err := validate(root, s["items"].(map[string]any), inner, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasType(want, value any) bool {
	if list, ok := want.([]any); ok {
		for _, one := range list {
			if hasType(one, value) {
				return true
			}
		}
		return false
	}
	switch v := value.(type) {
	case nil:
		return want == "null"
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == nil || want == "number" || (want == "integer" && v == float64(int64(v)))
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}
