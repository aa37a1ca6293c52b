package layer

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	// maxUnpacked is Lambda's limit for a function with all of its layers.
	maxUnpacked = 250 << 20
	// maxEntries is ours: it bounds what a hostile zip of empty files costs.
	maxEntries = 100_000
	// maxLink is the longest path on Linux.
	maxLink = 4096
)

// Unpack extracts a layer's zip into the directory dst, which is created if it
// does not exist. As in Lambda, files that are there already are overwritten,
// so that unpacking several layers in their order gives /opt.
//
// It restores permissions and symbolic links, and refuses names and links that
// lead out of dst, files that are neither regular, directory nor link, and
// more than Lambda's 250 MB. After an error dst is incomplete.
func Unpack(zipPath, dst string) error {
	if err := unpack(zipPath, dst); err != nil {
		return fmt.Errorf("layer: unpack %s: %w", zipPath, err)
	}
	return nil
}

func unpack(zipPath, dst string) (err error) {
	archive, err := zip.OpenReader(zipPath)
	if err != nil {
		return err
	}
	defer archive.Close()
	if len(archive.File) > maxEntries {
		return fmt.Errorf("%d entries are more than %d", len(archive.File), maxEntries)
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	// Nothing that is done through a Root follows a link out of it, whatever
	// an earlier entry or an earlier layer has put in the way.
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := unpacker{root: root, left: maxUnpacked}
	// The links are checked after a failure too: what remains is harmless.
	return errors.Join(u.extractAll(archive.File), u.checkLinks())
}

type unpacker struct {
	root  *os.Root
	left  int64 // bytes until the limit
	links []string
}

func (u *unpacker) extractAll(files []*zip.File) error {
	for _, file := range files {
		if err := u.extract(file); err != nil {
			return fmt.Errorf("entry %q: %w", file.Name, err)
		}
	}
	return nil
}

func (u *unpacker) extract(file *zip.File) error {
	name, err := localName(file.Name)
	if err != nil {
		return err
	}
	mode := file.Mode()
	if mode.IsDir() {
		return u.makeDir(name)
	}
	if name == "." {
		return errors.New("it has no name")
	}
	if !mode.IsRegular() && mode.Type() != fs.ModeSymlink {
		return fmt.Errorf("is a %v, which no layer needs", mode.Type())
	}
	if err := u.makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	// Replace, not write into: it may be a link, or a program that runs.
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	content, err := file.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if mode.Type() == fs.ModeSymlink {
		return u.makeLink(name, content)
	}
	return u.makeFile(name, mode.Perm(), content)
}

// localName is an entry's name as a path inside the destination.
func localName(name string) (string, error) {
	// Zips separate with slashes. A backslash would be a separator to some
	// readers and a part of the name to others.
	clean := filepath.FromSlash(path.Clean(strings.TrimSuffix(name, "/")))
	if strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(clean) {
		return "", errors.New("its name leads out of the layer")
	}
	return clean, nil
}

func (u *unpacker) makeDir(name string) error {
	if err := u.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	// The function's user has to get in, whatever the zip and the umask say.
	for ; name != "."; name = filepath.Dir(name) {
		if err := u.root.Chmod(name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) makeFile(name string, mode fs.FileMode, content io.Reader) error {
	out, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// The header's size is a claim; what comes out of the zip is counted.
	written, err := io.Copy(out, io.LimitReader(content, u.left+1))
	if u.left -= written; err == nil && u.left < 0 {
		err = fmt.Errorf("the layer is larger than %d MB", maxUnpacked>>20)
	}
	// Chmod, because the umask does not apply to what Lambda extracts.
	return errors.Join(err, out.Chmod(mode), out.Close())
}

func (u *unpacker) makeLink(name string, content io.Reader) error {
	target, err := io.ReadAll(io.LimitReader(content, maxLink+1))
	if err != nil {
		return err
	}
	if len(target) > maxLink || filepath.IsAbs(string(target)) {
		return errors.New("is a link that leads out of the layer")
	}
	u.links = append(u.links, name)
	return u.root.Symlink(string(target), name)
}

// checkLinks follows every link once all of them are there: where one leads may
// depend on another. One that leads out is removed, and an error.
func (u *unpacker) checkLinks() error {
	var refused error
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil {
			refused = errors.Join(refused, fmt.Errorf("entry %q: is a link to nothing in the layer: %w", name, err), u.root.Remove(name))
		}
	}
	return refused
}
