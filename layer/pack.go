// Package layer packs what the Lambda layer holds into a zip, and unpacks
// layer zips the way Lambda does.
//
// A layer is a zip that Lambda extracts to /opt. It starts every file directly
// in /opt/extensions, so the extension has to be there, and has to be
// executable: the execute bit travels in the zip's Unix attributes, which a
// zip made on Windows or by hand lacks. Lambda then fails each init with
// Extension.LaunchError. Besides it there are the hooks of the init profile, which
// do nothing until the function's environment variables say so.
package layer

import (
	"archive/zip"
	"compress/flate"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// ExtensionPath is where the extension is in the layer. Its base name is the
// name under which it registers.
const ExtensionPath = "extensions/thaw"

// packedAt is the time of all entries, the first that a zip can express: the
// same binary always gives the same zip, byte for byte.
func packedAt() time.Time { return time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC) }

// Pack writes the layer's zip with the given extension binary and the hooks of
// the init profile.
func Pack(w io.Writer, extension io.Reader) error {
	archive := zip.NewWriter(w)
	// A layer is packed once and downloaded by every new environment.
	archive.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	if err := add(archive, ExtensionPath, 0o755, extension); err != nil {
		return fmt.Errorf("layer: pack %s: %w", ExtensionPath, err)
	}
	if err := addHooks(archive); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("layer: pack: %w", err)
	}
	return nil
}

func add(archive *zip.Writer, name string, mode fs.FileMode, content io.Reader) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: packedAt()}
	header.SetMode(mode)
	out, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}
