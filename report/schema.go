package report

import _ "embed"

//go:embed schema.json
var schema string

// Schema returns the JSON Schema (draft 2020-12) of the JSON format. It is
// generated from the types of [Report]; a test holds them together.
func Schema() string { return schema }
