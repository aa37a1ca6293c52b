package metric

// Labels of the metrics of packages.
const (
	LabelPackage        = "thaw.package.name"
	LabelPackageVersion = "thaw.package.version"
	LabelPackageOrigin  = "thaw.package.origin"
)

// The metrics of the init profile, which need a hook in the runtime.
var (
	InitPackageDuration = Definition{Name: "thaw.init.package_duration", Kind: Histogram, Unit: "s", Scale: scale, Labels: []string{LabelPackage, LabelPackageVersion, LabelPackageOrigin},
		Text: "Time that a package took of an init, without the packages that it loads: one value for each init that loaded it. The 20 heaviest of a version have their name, the rest is (other); (own code) is what belongs to no package."}
	InitProfiled = Definition{Name: "thaw.init.profiled_duration", Kind: Histogram, Unit: "s", Scale: scale,
		Text: "Duration of the inits that a hook in the runtime profiled: what thaw.init.package_duration is a share of."}
)

// Packages lists the metrics of packages.
func Packages() []Definition {
	return []Definition{InitPackageDuration, InitProfiled}
}
