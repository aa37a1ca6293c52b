package extension

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// allowed are the modules that may link into the extension, and why. Every
// cold start waits for the init of every package that is linked, and the zip of
// the layer holds all of them: think of what it costs before you add a line.
var allowed = map[string]string{
	"github.com/thaw-lambda/thaw": "",

	"go.opentelemetry.io/collector/pdata":       "builds and marshals the spans; ptraceotlp would bring gRPC",
	"go.opentelemetry.io/collector/featuregate": "of pdata",
	"github.com/hashicorp/go-version":           "of featuregate",
	"go.uber.org/multierr":                      "of featuregate",
	"github.com/json-iterator/go":               "of pdata",
	"github.com/modern-go/concurrent":           "of json-iterator",
	"github.com/modern-go/reflect2":             "of json-iterator",

	"github.com/aws/aws-sdk-go-v2": "signs the requests for secrets (aws/signer/v4); no service client",
	"github.com/aws/smithy-go":     "of aws-sdk-go-v2",

	"github.com/rs/zerolog":         "the few lines in the function's log",
	"github.com/mattn/go-colorable": "of zerolog",
	"github.com/mattn/go-isatty":    "of zerolog",
	"golang.org/x/sys":              "of go-isatty",
}

// buildTags is how the layer is built: see the Makefile.
const buildTags = "-tags=nethttpomithttp2"

func TestLinkedModules(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command")
	}
	cmd := exec.Command("go", "list", buildTags, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}} {{.ImportPath}}", "../cmd/thaw-extension")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	const own = "github.com/thaw-lambda/thaw/"
	for line := range strings.Lines(string(out)) {
		module, pkg, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, ok := allowed[module]; module != "" && !ok {
			t.Errorf("the extension links %s of %s, which is not in the list above", pkg, module)
		}
		if strings.HasSuffix(pkg, "http2/hpack") {
			t.Error("the extension links HTTP/2, which it has no use for")
		}
		if strings.HasPrefix(pkg, own) {
			switch strings.TrimPrefix(pkg, own) {
			case "extension", "cmd/thaw-extension", "internal/classlog", "internal/goinit", "internal/hsperf", "internal/lifecycle", "internal/initprofile", "internal/lambdaapi", "internal/spool", "internal/version":
			default:
				t.Errorf("the extension links %s", pkg)
			}
		}
	}
}

// maxBinary is what the stripped binary may weigh.
const maxBinary = 8 << 20

func TestBinarySize(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command")
	}
	file := filepath.Join(t.TempDir(), "thaw")
	cmd := exec.Command("go", "build", buildTags, "-trimpath", "-ldflags=-s -w", "-o", file, "../cmd/thaw-extension")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxBinary {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), maxBinary)
	}
}
