package emulator

import (
	"net/http"
	"slices"
)

// Faults make the Telemetry API of a function's environments answer as others
// do, for the tests of extensions. The zero value is Lambda as it works.
type Faults struct {
	// TelemetryStatus, if not 0, is the answer to every subscription: 202 is
	// AWS's own local emulator, which will never deliver anything, 404 one that
	// does not know the API, 403 a subscription that comes too late, 500 a
	// trouble of the service.
	TelemetryStatus int
	// TelemetrySchemas are the versions of the schema that are accepted; others
	// are answered by 400. Nil: all that are known.
	TelemetrySchemas []string
}

// refuseTelemetry answers a subscription as the faults want it, and reports
// whether they do.
func (f Faults) refuseTelemetry(w http.ResponseWriter) bool {
	switch f.TelemetryStatus {
	case 0:
		return false
	case http.StatusAccepted:
		writeError(w, http.StatusAccepted, "Telemetry.NotSupported", "Telemetry API is not supported")
	case http.StatusForbidden:
		writeError(w, http.StatusForbidden, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
	case http.StatusNotFound:
		http.Error(w, "404 page not found", http.StatusNotFound)
	default:
		writeError(w, f.TelemetryStatus, "InternalServerError", "Internal Server Error")
	}
	return true
}

// schemas are the versions of the schema that f's environments accept: on
// managed instances the newest alone.
func (f *function) schemas() []string {
	if f.ManagedConcurrency > 0 {
		return schemas[len(schemas)-1:]
	}
	if f.Faults.TelemetrySchemas == nil {
		return schemas
	}
	return slices.DeleteFunc(slices.Clone(schemas), func(s string) bool { return !slices.Contains(f.Faults.TelemetrySchemas, s) })
}
