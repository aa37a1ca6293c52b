package lambdaapi

// Header names of the Runtime API.
const (
	HeaderRequestID          = "Lambda-Runtime-Aws-Request-Id"
	HeaderDeadlineMs         = "Lambda-Runtime-Deadline-Ms"
	HeaderInvokedFunctionARN = "Lambda-Runtime-Invoked-Function-Arn"
	HeaderTraceID            = "Lambda-Runtime-Trace-Id"
	HeaderClientContext      = "Lambda-Runtime-Client-Context"
	HeaderFunctionErrorType  = "Lambda-Runtime-Function-Error-Type"
	HeaderFunctionErrorBody  = "Lambda-Runtime-Function-Error-Body"
	HeaderResponseMode       = "Lambda-Runtime-Function-Response-Mode"
)

// Paths of the Runtime API, below PathRuntime.
const (
	PathRuntimeNext      = PathRuntime + "/invocation/next"
	PathRuntimeInitError = PathRuntime + "/init/error"
)

// StatusOK is the body of an accepted post to the Runtime and Extensions APIs.
type StatusOK struct {
	Status string `json:"status"`
}
