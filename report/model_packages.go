package report

import (
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// PackageUse is what a package took of the inits in the range that a hook in
// the runtime profiled, without the packages that it loads itself.
type PackageUse struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Origin is function, layer, runtime or built-in.
	Origin string    `json:"origin"`
	InitMS Quantiles `json:"init_ms"`
	// Share is that of the time of all profiled inits, from 0 to 1.
	Share float64 `json:"share"`
}

// InitProfile is one cold start whose modules are known.
type InitProfile struct {
	// ID names it at the collector that keeps it.
	ID           string    `json:"id"`
	Version      string    `json:"version"`
	MemoryMB     int64     `json:"memory_mb"`
	Architecture string    `json:"architecture"`
	Runtime      string    `json:"runtime"`
	Start        time.Time `json:"start"`
	InitMS       float64   `json:"init_ms"`
	Status       string    `json:"status"`
	// Kept says why it is shown: newest, slowest or both.
	Kept []string `json:"kept"`
	// Inside is what an init that failed was loading.
	Inside string `json:"inside"`
	Hook   string `json:"hook"`
	// HookMS is what the hook took, by its own accounting.
	HookMS    float64           `json:"hook_ms"`
	Truncated bool              `json:"truncated"`
	Parts     []InitPart        `json:"parts"`
	Packages  []ProfiledPackage `json:"packages"`
	// Modules are the tree, importers before what they import.
	Modules []ProfiledModule `json:"modules"`

	tree *initprofile.Tree
}

// ProfiledPackage is a package in one cold start.
type ProfiledPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Origin  string `json:"origin"`
	// SelfMS is without the packages that it loads, TotalMS with them.
	SelfMS  float64 `json:"self_ms"`
	TotalMS float64 `json:"total_ms"`
	Modules int64   `json:"modules"`
	Bytes   int64   `json:"bytes"`
	// ImportedBy is who imports its most expensive entry, the outermost first.
	ImportedBy []string `json:"imported_by"`
	// LateMS is what the first invocation loaded of it.
	LateMS float64 `json:"late_ms"`
}

// ProfiledModule is a module in one cold start.
type ProfiledModule struct {
	// Parent is the index of the module that loaded it, -1 for none.
	Parent int    `json:"parent"`
	Name   string `json:"name"`
	// Package is an index into the packages.
	Package int     `json:"package"`
	SelfMS  float64 `json:"self_ms"`
	TotalMS float64 `json:"total_ms"`
	// Count is how many modules it stands for: small ones of a package are
	// drawn together.
	Count int  `json:"count"`
	Open  bool `json:"open"`
}

// ProfileDiff is what changed between the cold starts of two versions of a
// function at one memory size: the medians of those that are kept.
type ProfileDiff struct {
	FromVersion string  `json:"from_version"`
	ToVersion   string  `json:"to_version"`
	MemoryMB    int64   `json:"memory_mb"`
	FromMS      float64 `json:"from_ms"`
	ToMS        float64 `json:"to_ms"`
	// Profiles are how many cold starts it stands on, of both versions.
	Profiles int64           `json:"profiles"`
	Changes  []PackageChange `json:"changes"`
}

// PackageChange is a package whose self time changed.
type PackageChange struct {
	Name        string   `json:"name"`
	FromVersion string   `json:"from_version"`
	ToVersion   string   `json:"to_version"`
	FromMS      float64  `json:"from_ms"`
	ToMS        float64  `json:"to_ms"`
	DeltaMS     float64  `json:"delta_ms"`
	ImportedBy  []string `json:"imported_by"`
}
