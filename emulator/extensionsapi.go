package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/thaw-lambda/thaw/internal/lambdaapi"
)

// States of an extension, as platform.extension and error messages name them.
const (
	stateStarted        = "Started"
	stateRegistered     = "Registered"
	stateReady          = "Ready"
	stateRunning        = "Running"
	stateInitError      = "InitError"
	stateExitError      = "ExitError"
	stateLaunchError    = "LaunchError"
	stateExited         = "Exited"
	stateShutdownFailed = "ShutdownFailed"
)

// maxExtensionBody bounds what an extension may send; the platform's is 1 MiB.
const maxExtensionBody = 1 << 20

// withExtensions hides the APIs when extensions are turned off.
func withExtensions(handle func(*boot, http.ResponseWriter, *http.Request)) func(*boot, http.ResponseWriter, *http.Request) {
	return func(b *boot, w http.ResponseWriter, r *http.Request) {
		if b.extensionsOff {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		handle(b, w, r)
	}
}

// refusal is an error answer of the Extensions API, always a 403.
type refusal struct{ errorType, message string }

func (r *refusal) write(w http.ResponseWriter) {
	writeError(w, http.StatusForbidden, r.errorType, r.message)
}

func badTransition(from, to, who string) *refusal {
	return &refusal{"Extension.InvalidExtensionState", fmt.Sprintf(
		"State transition from %s to %s failed for extension %s. Error: State transition is not allowed", from, to, who)}
}

func (b *boot) serveRegister(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get(lambdaapi.HeaderExtensionName)
	if name == "" {
		(&refusal{"Extension.InvalidExtensionName", "Empty extension name"}).write(w)
		return
	}
	events, refused := parseRegistration(r.Body)
	if refused != nil {
		refused.write(w)
		return
	}
	x, refused := b.register(name, events)
	if refused != nil {
		refused.write(w)
		return
	}
	f := b.env.fn
	response := lambdaapi.RegisterResponse{FunctionName: f.Name, FunctionVersion: f.Version, Handler: f.Handler}
	for feature := range strings.SplitSeq(r.Header.Get(lambdaapi.HeaderAcceptFeature), ",") {
		if strings.TrimSpace(feature) == lambdaapi.FeatureAccountID {
			response.AccountID = b.env.e.AccountID
		}
	}
	w.Header().Set(lambdaapi.HeaderExtensionIdentifier, x.id.String())
	writeJSON(w, http.StatusOK, response)
}

func parseRegistration(body io.Reader) ([]string, *refusal) {
	var request struct {
		lambdaapi.RegisterRequest
		ConfigurationKeys []string `json:"configurationKeys"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxExtensionBody)).Decode(&request); err != nil {
		return nil, &refusal{"InvalidRequestFormat", err.Error()}
	}
	if len(request.ConfigurationKeys) > 0 {
		return nil, &refusal{"InvalidRequestFormat", "configurationKeys are not supported"}
	}
	for _, event := range request.Events {
		if event != lambdaapi.EventInvoke && event != lambdaapi.EventShutdown {
			return nil, &refusal{"Extension.InvalidEventType", event + ": ErrorInvalidEventType"}
		}
	}
	slices.Sort(request.Events)
	return slices.Compact(request.Events), nil
}

// register notes an extension. A name that is not that of a file in
// /opt/extensions is a new internal extension.
func (b *boot) register(name string, events []string) (*extension, *refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.extensionNamed(name)
	if b.env.kind == kindManaged {
		if refused := refuseEvents(events, x != nil && x.external()); refused != nil {
			return nil, refused
		}
	}
	switch {
	case x == nil:
		return b.registerInternal(name, events)
	case !x.external():
		return nil, &refusal{"Extension.InvalidExtensionState", "Extension with this name already registered"}
	case x.state != stateStarted:
		return nil, badTransition(x.state, stateRegistered, name)
	}
	x.state, x.events = stateRegistered, events
	b.notify()
	return x, nil
}

func (b *boot) registerInternal(name string, events []string) (*extension, *refusal) {
	switch {
	case slices.Contains(events, lambdaapi.EventShutdown):
		return nil, &refusal{"Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"}
	case b.windowClosed:
		return nil, &refusal{"Extension.RegistrationClosed", "Extension registration closed already"}
	case len(b.extensions) >= maxExtensions:
		return nil, &refusal{"Extension.TooManyExtensions", fmt.Sprintf("Extension limit (%d) reached", maxExtensions)}
	}
	x := &extension{name: name, id: uuid.New(), state: stateRegistered, events: events}
	b.extensions = append(b.extensions, x)
	b.notify()
	return x, nil
}

func (b *boot) extensionNamed(name string) *extension {
	for _, x := range b.extensions {
		if x.name == name {
			return x
		}
	}
	return nil
}

// identify finds the extension that calls; the lock is held.
func (b *boot) identify(r *http.Request, unknown func(id string) string) (*extension, *refusal) {
	text := r.Header.Get(lambdaapi.HeaderExtensionIdentifier)
	if text == "" {
		return nil, &refusal{"Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"}
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, &refusal{"Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"}
	}
	for _, x := range b.extensions {
		if x.id == id && x.state != stateStarted {
			return x, nil
		}
	}
	return nil, &refusal{"Extension.UnknownExtensionIdentifier", unknown(text)}
}

func unknownExtension(id string) string { return "Unknown extension " + id }
func unknownIdentifier(string) string   { return "Unknown Lambda-Extension-Identifier" }

// serveExtensionNext: the extension is done with its init or its event, and
// waits for the next one.
func (b *boot) serveExtensionNext(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	x, refused := b.identify(r, unknownExtension)
	if refused == nil && x.state != stateRegistered && x.state != stateRunning {
		refused = badTransition(x.state, stateReady, x.id.String())
	}
	if refused != nil {
		b.mu.Unlock()
		refused.write(w)
		return
	}
	x.state, x.readyAt = stateReady, time.Now()
	b.notify()
	event := b.awaitEvent(r, x)
	b.mu.Unlock()
	if event == nil {
		return // the extension is gone
	}
	if event.EventType == lambdaapi.EventInvoke {
		w.Header().Set(lambdaapi.HeaderExtensionEventID, uuid.NewString())
	}
	writeJSON(w, http.StatusOK, event)
}

// awaitEvent waits for x's next event. Unlike await it goes on after a fault:
// a SHUTDOWN follows. The lock is held, and released while it waits.
func (b *boot) awaitEvent(r *http.Request, x *extension) *lambdaapi.NextEvent {
	for x.pending == nil {
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			b.mu.Lock()
			return nil
		}
		b.mu.Lock()
	}
	event := x.pending
	x.pending = nil
	x.state = stateRunning
	return event
}

func (b *boot) serveExtensionInitError(w http.ResponseWriter, r *http.Request) {
	b.serveExtensionError(w, r, stateInitError, "Extension.InitError", stateRegistered)
}

func (b *boot) serveExtensionExitError(w http.ResponseWriter, r *http.Request) {
	b.serveExtensionError(w, r, stateExitError, "Extension.ExitError", stateRegistered, stateReady, stateRunning)
}

// serveExtensionError: the extension cannot go on, and neither can the
// environment. A repetition is accepted and ignored.
func (b *boot) serveExtensionError(w http.ResponseWriter, r *http.Request, to, errorType string, from ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, refused := b.identify(r, unknownIdentifier)
	if refused != nil {
		refused.write(w)
		return
	}
	said := r.Header.Get(lambdaapi.HeaderExtensionErrorType)
	switch {
	case said == "":
		(&refusal{"Extension.MissingHeader", lambdaapi.HeaderExtensionErrorType + " not found"}).write(w)
		return
	case x.state == to:
	case !slices.Contains(from, x.state):
		badTransition(x.state, to, x.id.String()).write(w)
		return
	default:
		x.state, x.errorType = to, said
		b.failLocked(&fault{errorType: errorType, message: said})
	}
	writeAccepted(w)
}
