package report

import (
	"encoding/json"
	"io"
)

// writeJSON writes the model as it is. HTML's special characters are not
// escaped: the file is for programs and people.
func writeJSON(w io.Writer, r *Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}
