package lambdaapi

// Header names of the Extensions API. Lambda compares them case-insensitively.
const (
	HeaderExtensionName       = "Lambda-Extension-Name"
	HeaderExtensionIdentifier = "Lambda-Extension-Identifier"
	HeaderExtensionEventID    = "Lambda-Extension-Event-Identifier"
	HeaderExtensionErrorType  = "Lambda-Extension-Function-Error-Type"
	HeaderAcceptFeature       = "Lambda-Extension-Accept-Feature"

	// FeatureAccountID asks register for the account id of the function.
	FeatureAccountID = "accountId"
)

// Paths of the APIs, below http://$AWS_LAMBDA_RUNTIME_API.
const (
	PathExtensionRegister  = "/2020-01-01/extension/register"
	PathExtensionNext      = "/2020-01-01/extension/event/next"
	PathExtensionInitError = "/2020-01-01/extension/init/error"
	PathExtensionExitError = "/2020-01-01/extension/exit/error"
	PathTelemetry          = "/2022-07-01/telemetry"
	PathRuntime            = "/2018-06-01/runtime"
)

// Lifecycle events an extension can register for.
const (
	EventInvoke   = "INVOKE"
	EventShutdown = "SHUTDOWN"
)

// RegisterRequest is the body of POST /extension/register.
type RegisterRequest struct {
	Events []string `json:"events"`
}

// RegisterResponse is its answer. AccountID is present only when the feature
// was asked for and the platform knows it.
type RegisterResponse struct {
	AccountID       string `json:"accountId,omitempty"`
	FunctionName    string `json:"functionName"`
	FunctionVersion string `json:"functionVersion"`
	Handler         string `json:"handler"`
}

// NextEvent is the answer of GET /extension/event/next, an INVOKE or a
// SHUTDOWN. DeadlineMs is an absolute Unix time in milliseconds.
// ShutdownReason is to be compared without regard to case: the documentation
// and AWS's own code do not agree on it.
type NextEvent struct {
	EventType          string   `json:"eventType"`
	DeadlineMs         int64    `json:"deadlineMs"`
	RequestID          string   `json:"requestId,omitempty"`
	InvokedFunctionARN string   `json:"invokedFunctionArn,omitempty"`
	Tracing            *Tracing `json:"tracing,omitempty"`
	ShutdownReason     string   `json:"shutdownReason,omitempty"`
}

// Tracing is the X-Ray trace header of an invocation.
type Tracing struct {
	SpanID string `json:"spanId,omitempty"`
	Type   string `json:"type,omitempty"`
	Value  string `json:"value,omitempty"`
}

// ErrorBody is the body of every error answer of the three APIs, and of an
// invocation that failed.
type ErrorBody struct {
	ErrorMessage string   `json:"errorMessage"`
	ErrorType    string   `json:"errorType"`
	StackTrace   []string `json:"stackTrace,omitempty"`
}

// Subscription is the body of PUT /telemetry.
type Subscription struct {
	SchemaVersion string      `json:"schemaVersion"`
	Types         []string    `json:"types"`
	Buffering     *Buffering  `json:"buffering,omitempty"`
	Destination   Destination `json:"destination"`
}

// Buffering bounds the batches of a subscription: at most MaxItems events
// (1,000 to 10,000), MaxBytes bytes (262,144 to 1,048,576) or TimeoutMs
// milliseconds (25 to 30,000) after the first event, whichever comes first.
type Buffering struct {
	MaxItems  int `json:"maxItems,omitempty"`
	MaxBytes  int `json:"maxBytes,omitempty"`
	TimeoutMs int `json:"timeoutMs,omitempty"`
}

// Destination is where batches go. Over HTTP the host of URI has to be
// sandbox.localdomain (or sandbox) with an explicit port other than 9001.
type Destination struct {
	Protocol string `json:"protocol"`
	URI      string `json:"URI,omitempty"`
	Port     int    `json:"port,omitempty"`
}
