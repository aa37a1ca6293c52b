// Command thaw-extension is the program that Thaw's Lambda layer ships as
// /opt/extensions/thaw. Lambda starts it; see package extension.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/thaw-lambda/thaw/extension"
	"github.com/thaw-lambda/thaw/internal/version"
)

// started is as early as this program can tell: after the Go runtime and the
// packages that it links have initialized, which takes about a millisecond.
// The kernel knows better, but states it in ticks of 10 ms.
var started = time.Now()

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("thaw-extension", version.String())
		return
	}
	err := extension.Run(context.Background(), extension.Process{
		Name:    filepath.Base(os.Args[0]),
		Started: started,
		Environ: os.Environ(),
		Stdout:  os.Stdout,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "thaw-extension:", err)
		os.Exit(1)
	}
}
