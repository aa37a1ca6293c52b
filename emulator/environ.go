package emulator

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	lambdaPath        = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
	lambdaLibraryPath = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
	placeholder       = "local" // credentials: SDKs refuse to start without any
)

// reservedVariables cannot be set by customers. (Lambda also reserves the
// credentials; here a function may need real ones.)
var reservedVariables = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION",
	"AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
	"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}

// variables are a process's environment variables.
type variables map[string]string

// list returns them sorted, as exec wants them.
func (v variables) list() []string {
	out := make([]string, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		out = append(out, name+"="+v[name])
	}
	return out
}

// extensionVariables are those of an extension, which sees less than the
// function: nothing that begins with an underscore, no handler, no log stream.
func (env *environment) extensionVariables() variables {
	f := env.fn
	v := variables{
		"PATH": lambdaPath, "LD_LIBRARY_PATH": lambdaLibraryPath, "LANG": "en_US.UTF-8", "TZ": ":UTC",
		"AWS_ACCESS_KEY_ID": placeholder, "AWS_SECRET_ACCESS_KEY": placeholder, "AWS_SESSION_TOKEN": placeholder,
	}
	for name, value := range f.Env {
		if !strings.HasPrefix(name, "_") {
			v[name] = value
		}
	}
	maps.Copy(v, variables{
		"AWS_REGION": env.e.Region, "AWS_DEFAULT_REGION": env.e.Region,
		"AWS_LAMBDA_RUNTIME_API":          env.addr(),
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     f.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  env.kind,
	})
	env.files.addTo(v)
	env.addResourceAttributes(v)
	env.addCredentials(v)
	return v
}

// addCredentials says where a restored environment gets its credentials: those
// of the time of the snapshot are over.
func (env *environment) addCredentials(v variables) {
	if env.kind != kindSnapStart {
		return
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if v[name] == placeholder {
			delete(v, name)
		}
	}
	v["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://" + env.addr() + credentialsPath
	v["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = env.token
}

// addResourceAttributes tells those who observe the function by OpenTelemetry
// that its CPU is not limited. The name is Thaw's.
func (env *environment) addResourceAttributes(v variables) {
	if env.e.host.enforcement.CPUEnforced {
		return
	}
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	attributes := "thaw.cpu.enforced=false"
	if others := env.fn.Env[name]; others != "" {
		attributes = others + "," + attributes
	}
	v[name] = attributes
}

// runtimeVariables are those of the function's own process.
func (env *environment) runtimeVariables() variables {
	f := env.fn
	v := env.extensionVariables()
	maps.Copy(v, f.Env)
	env.addResourceAttributes(v)
	maps.Copy(v, variables{
		"_HANDLER":                   f.Handler,
		"AWS_LAMBDA_LOG_GROUP_NAME":  "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME": env.id,
		"AWS_XRAY_CONTEXT_MISSING":   "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":    "169.254.79.129:2000",
		"_AWS_XRAY_DAEMON_ADDRESS":   "169.254.79.129",
		"_AWS_XRAY_DAEMON_PORT":      "2000",
		"LAMBDA_TASK_ROOT":           env.files.task,
		"LAMBDA_RUNTIME_DIR":         "/var/runtime",
	})
	switch env.kind {
	case kindSnapStart: // whose log stream is not known before the restore
		delete(v, "AWS_LAMBDA_LOG_GROUP_NAME")
		delete(v, "AWS_LAMBDA_LOG_STREAM_NAME")
	case kindManaged:
		v["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(f.ManagedConcurrency)
	}
	if f.Runtime != "" && !strings.HasPrefix(f.Runtime, "provided") {
		v["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + f.Runtime
	}
	env.files.addTo(v)
	return v
}

// files are the paths of an environment as its own processes see them: those
// of Lambda inside a mount namespace, else those of the host.
type files struct {
	task, opt, tmp string
	hostOpt        string // where the emulator itself finds /opt; empty without layers
}

// addTo points v to where things are when there is no mount namespace.
func (f files) addTo(v variables) {
	if f.tmp == "/tmp" {
		return
	}
	v["TMPDIR"] = f.tmp
	if f.opt != "" {
		v["PATH"] = lambdaPath + ":" + f.opt + "/bin"
		v["LD_LIBRARY_PATH"] = lambdaLibraryPath + ":" + f.opt + "/lib"
	}
}
