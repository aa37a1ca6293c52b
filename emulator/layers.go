package emulator

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// disableExtensions is the file whose existence in /opt turns extensions off.
const disableExtensions = "disable-extensions-jwigqn8j"

// prepareFiles makes the directories that become /var/task and /opt. The
// Emulator's lock is held.
func (e *Emulator) prepareFiles(f *function) (err error) {
	f.taskDir = f.Dir
	if e.host.otherUser() && !readableByOthers(f.Dir) {
		if f.taskDir, err = e.merged([]string{f.Dir}); err != nil {
			return fmt.Errorf("copy task root: %w", err)
		}
	}
	if len(f.Layers) > 0 {
		if f.optDir, err = e.merged(f.Layers); err != nil {
			return fmt.Errorf("merge layers: %w", err)
		}
	}
	return nil
}

// merged returns a directory with the contents of all dirs, later ones
// overwriting earlier ones. It is made once for each state of each list,
// however many versions of a function use it.
func (e *Emulator) merged(dirs []string) (string, error) {
	key, err := signature(dirs)
	if err != nil {
		return "", err
	}
	if dir := e.layers[key]; dir != "" {
		return dir, nil
	}
	target := filepath.Join(e.dir, fmt.Sprintf("layers-%d", len(e.layers)))
	for _, dir := range dirs {
		if err := copyTree(target, dir); err != nil {
			return "", err
		}
	}
	e.layers[key] = target
	return target, nil
}

// signature changes when a file below one of dirs does.
func signature(dirs []string) (string, error) {
	hash := sha256.New()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(hash, "%q %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return string(hash.Sum(nil)), nil
}

func readableByOthers(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o005 == 0o005
}

// copyTree copies src over dst, keeping execute bits and symbolic links, and
// making everything readable, as files in a layer are.
func copyTree(dst, src string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		return copyEntry(filepath.Join(dst, rel), path, d)
	})
}

func copyEntry(dst, src string, d fs.DirEntry) error {
	switch {
	case d.IsDir():
		return os.MkdirAll(dst, 0o755)
	case d.Type()&fs.ModeSymlink != 0:
		link, err := os.Readlink(src)
		if err != nil {
			return err
		}
		_ = os.Remove(dst) // a file of an earlier layer
		return os.Symlink(link, dst)
	case d.Type().IsRegular():
		return copyFile(dst, src)
	}
	return nil // sockets and devices cannot be in a layer
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	_ = os.Remove(dst) // a file of an earlier layer
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o444)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Chmod(info.Mode().Perm() | 0o444); err != nil { // whatever the umask took
		_ = out.Close()
		return err
	}
	return out.Close()
}
