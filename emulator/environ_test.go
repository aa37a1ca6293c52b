package emulator

import (
	"maps"
	"net"
	"slices"
	"testing"
)

// TestVariables: what an extension sees, and what only the function sees.
func TestVariables(t *testing.T) {
	b, _ := bareBoot(t)
	env := b.env
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	env.listen, env.kind = listener, kindOnDemand
	env.e.host = &host{}
	env.files = files{task: "/var/task", opt: "/opt", tmp: "/tmp"}
	env.fn.Runtime, env.fn.Env = "nodejs22.x", map[string]string{"MINE": "1", "_PRIVATE": "2"}

	extension, function := env.extensionVariables(), env.runtimeVariables()
	for name, want := range map[string]string{
		"AWS_LAMBDA_RUNTIME_API": listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
		"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "TZ": ":UTC", "PATH": lambdaPath, "MINE": "1",
	} {
		if extension[name] != want || function[name] != want {
			t.Errorf("%s is %q for the extension, %q for the function, want %q", name, extension[name], function[name], want)
		}
	}
	const attributes = "OTEL_RESOURCE_ATTRIBUTES"
	if extension[attributes] != "thaw.cpu.enforced=false" {
		t.Errorf("a CPU that is not limited is not told: %q", extension[attributes])
	}
	env.fn.Env[attributes] = "team=shop"
	if got := env.runtimeVariables()[attributes]; got != "team=shop,thaw.cpu.enforced=false" {
		t.Errorf("the user's resource attributes became %q", got)
	}
	env.e.host.enforcement.CPUEnforced = true
	if got := env.extensionVariables()[attributes]; got != "team=shop" {
		t.Errorf("a CPU that is limited changes resource attributes to %q", got)
	}
	only := maps.Clone(function)
	maps.DeleteFunc(only, func(name, _ string) bool { _, shared := extension[name]; return shared })
	want := []string{
		"AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS",
		"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT", "_HANDLER", "_PRIVATE",
	}
	if got := slices.Sorted(maps.Keys(only)); !slices.Equal(got, want) {
		t.Errorf("only the function sees %v, want %v", got, want)
	}
}
