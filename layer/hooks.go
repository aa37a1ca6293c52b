package layer

import (
	"archive/zip"
	"embed"
	"fmt"
	"io/fs"
)

// HooksPath is where the hooks of the init profile are in the layer: the wrapper,
// and a folder for each runtime. Lambda extracts it to /opt/thaw.
const HooksPath = "thaw"

// Every file that the layer ships besides the extension is named here: what is
// packed into a cold start is a decision.
//
//go:embed wrapper
//go:embed node/thaw.cjs node/hook.cjs node/es.cjs node/deep.cjs node/wrap.sh
//go:embed ruby/thaw.rb ruby/wrap.sh
//go:embed java/wrap.sh
//go:embed python/sitecustomize.py python/thaw_profile.py python/thaw_coverage.py python/wrap.sh python/__pycache__/*.pyc
var hooks embed.FS

// addHooks adds the hooks to the layer, in the order of their names.
func addHooks(archive *zip.Writer) error {
	return fs.WalkDir(hooks, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := hooks.Open(name)
		if err != nil {
			return err
		}
		defer content.Close()
		mode := fs.FileMode(0o644)
		if name == "wrapper" {
			mode = 0o755
		}
		if err := add(archive, HooksPath+"/"+name, mode, content); err != nil {
			return fmt.Errorf("layer: pack %s: %w", name, err)
		}
		return nil
	})
}
