package report

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
	"github.com/thaw-lambda/thaw/internal/lifecycle"
)

// packageRule returns what it finds in one profile, or nothing. What a finding
// saves is measured where it is time of that profile that would not be spent,
// predicted where it takes an assumption; which one is part of its evidence.
type packageRule func(p *InitProfile) []Finding

func packageRules() []packageRule {
	return []packageRule{
		barrelRule, wholeSDKRule, unusedRule, duplicateRule, toolingRule,
		sourceMapRule, codeCacheRule, bytecodeRule, smallFilesRule, sideEffectRule,
	}
}

// profileRules documents them. What they look at is the newest cold start whose
// init succeeded and that a hook in the runtime profiled.
func profileRules() []Rule {
	const source = "The modules of a cold start, timed inside the process: each median within 10 % of a CPU profile (Node.js), 1 % of -X importtime (Python)."
	return []Rule{
		{ID: "init-inside", Title: "An init that failed says where it was", When: "A kept cold start's init did not succeed, and its profile has a module that was still being loaded, or that threw.", Source: source, find: inProfiles},
		{ID: "deploy-packages", Title: "A deploy made the init longer", When: "The median init of the kept cold starts of the newest version is at least 20 ms and 5 % above that of the version before.", Guard: "Only at one memory size and architecture.", Source: source, find: inProfiles},
		{ID: "barrel-file", Title: "A barrel file", When: "A file imports at least 20 others of its folder and package, and less than half of its time is its own.", Guard: "Those that the first invocation did not use take 10 ms and 2 % of the init.", Source: source, find: inProfiles},
		{ID: "whole-sdk", Title: "A whole SDK", When: "aws-sdk (v2) or googleapis is loaded with all of its services.", Guard: "It takes 10 ms and 2 % of the init.", Source: source, find: inProfiles},
		{ID: "unused-package", Title: "Heavy and unused in the first invocation", When: "With THAW_PROFILE=deep: a package takes 10 ms and 2 % of the init, and none of its functions is known to have run in the first invocation: worth a look, not more.", Guard: "Coverage is known of at least 80 % of its modules.", Source: source, find: inProfiles},
		{ID: "duplicate-package", Title: "A package more than once", When: "A package is loaded from two folders.", Guard: "The copies but the heaviest take a millisecond.", Source: source, find: inProfiles},
		{ID: "dev-tooling", Title: "Development tooling in production", When: "A compiler, test framework or linter is loaded, for at least 5 ms.", Source: source, find: inProfiles},
		{ID: "source-maps", Title: "Source maps", When: "Source maps are on, and the maps beside the loaded files have at least 1 MB.", Source: source, find: inProfiles},
		{ID: "no-code-cache", Title: "No code cache", When: "Node.js 22 or later loads at least 512 KB of source without a compile cache.", Guard: "Its modules take 50 ms and 10 % of the init.", Source: source, find: inProfiles},
		{ID: "no-bytecode", Title: "No bytecode", When: "At least half of ten or more Python modules of the function have no bytecode of its version of Python.", Guard: "They take 10 ms and 2 % of the init.", Source: source, find: inProfiles},
		{ID: "many-small-files", Title: "Many small files", When: "At least 150 files of the function, of 8 KB or less on average.", Guard: "What opening them costs, by the smallest of them, is 10 ms and 2 % of the init.", Source: source, find: inProfiles},
		{ID: "import-side-effect", Title: "Waiting while importing", When: "A module of the function's own takes at least 30 ms and 2 % of the init, of which the CPU was used for less than a fifth.", Source: source, find: inProfiles},
	}
}

// inProfiles stands for rules that look at whole cold starts: packageFindings
// applies those.
func inProfiles(*Function, *curveView) *Finding { return nil }

// packageFindings applies them to the newest cold start whose init succeeded,
// and says of failed ones where they were.
func packageFindings(f *Function) []Finding {
	out := failedInit(f)
	for _, p := range f.profiles {
		if p.Status != string(lifecycle.Success) {
			continue
		}
		for _, rule := range packageRules() {
			for _, finding := range rule(p) {
				finding.Evidence = append(finding.Evidence, fmt.Sprintf("Seen in the cold start of %s, version %s, %d MB: its init took %s.",
					p.Start.UTC().Format("2006-01-02 15:04:05 UTC"), p.Version, p.MemoryMB, ms(p.InitMS)))
				out = append(out, finding)
			}
		}
		break
	}
	out = append(out, deployRule(f)...)
	for i := range out {
		x := &out[i]
		x.Function, x.Account, x.Region = f.Name, f.Account, f.Region
		if x.Verify == "" {
			x.Verify = "The next cold start's profile: `thaw report`, or `thaw run --profile` before it is deployed."
		}
		if x.Undo == "" {
			x.Undo = "Deploy the previous version."
		}
		x.Patches = []Patch{}
		if x.ID == "no-code-cache" {
			x.Patches = environmentPatches(f, "NODE_COMPILE_CACHE", "/var/task/.cache")
		}
		x.price(f)
		if x.Effect.Value != nil && x.weight == 0 && f.InitMS.Mean != nil && *f.InitMS.Mean > 0 {
			x.weight = *x.Effect.Value / *f.InitMS.Mean * coldShare(f)
		}
	}
	return out
}

// worth is the least time that a finding is about: 10 ms and 2 % of the init.
func (p *InitProfile) worth() time.Duration {
	return max(10*time.Millisecond, time.Duration(p.InitMS*float64(time.Millisecond))/50)
}

// profileFinding begins a finding that saves so much.
func profileFinding(id, basis string, n int64, saves time.Duration) Finding {
	return Finding{
		ID: id, Severity: severityChange, Basis: basis, N: n,
		Effect:   Effect{Unit: unitMS, Value: figure(milli(saves))},
		Evidence: []string{},
	}
}

const (
	basisMeasured  = string(lifecycle.Measured)
	basisPredicted = string(lifecycle.Predicted)
)

// coverage maps files to what the first invocation used of them.
func (p *InitProfile) coverage() map[string]initprofile.Coverage {
	out := map[string]initprofile.Coverage{}
	for _, c := range p.tree.Coverage {
		out[c.Path] = c
	}
	return out
}

// barrelRule: a file that imports at least 20 others of its folder, and does
// little else.
func barrelRule(p *InitProfile) []Finding {
	const fewest = 20
	var out []Finding
	covered := p.coverage()
	p.tree.Walk(func(n *initprofile.Node) {
		if n.Path == "" || n.Total < p.worth() || n.Self*2 >= n.Total {
			return
		}
		dir := path.Dir(strings.TrimPrefix(n.Path, "file://")) + "/"
		var siblings, used, known int
		var unused time.Duration
		for _, c := range n.Children {
			file := strings.TrimPrefix(c.Path, "file://")
			if !strings.HasPrefix(file, dir) || c.Code != n.Code {
				continue
			}
			siblings += 1 + c.More
			cov, ok := covered[c.Path]
			if ok {
				known++
			}
			if cov.Hit > 0 {
				used++
			} else {
				unused += c.Total
			}
		}
		if siblings < fewest || siblings*10 < len(n.Children)*8 || unused < p.worth() {
			return
		}
		name := p.tree.Label(n)
		f := profileFinding("barrel-file", basisPredicted, int64(siblings), unused)
		f.Claim = fmt.Sprintf("%s loads %s modules of its folder, %s in all.", name, thousands(int64(siblings)), ms(milli(n.Total)))
		if known*10 >= siblings*8 { // of a file that is not listed nothing is known
			f.Claim += fmt.Sprintf(" At least %d of them were used by the first invocation.", used)
			f.Basis = string(lifecycle.Derived)
			f.Evidence = append(f.Evidence, fmt.Sprintf("Derived: the modules that are not known to have been used took %s.", ms(milli(unused))))
		} else {
			f.Evidence = append(f.Evidence, "Predicted: an upper bound, as if none of them were needed. THAW_PROFILE=deep measures which are.")
		}
		f.Change = barrelChange(p, n)
		f.Evidence = append(f.Evidence, p.importedBy(n))
		out = append(out, f)
	})
	return out
}

func barrelChange(p *InitProfile, n *initprofile.Node) string {
	dir := path.Dir(p.tree.Label(n))
	example := "what you use"
	for _, c := range n.Children {
		if c.Code == n.Code {
			example = strings.TrimSuffix(p.tree.Label(c), path.Ext(p.tree.Label(c)))
			break
		}
	}
	if p.tree.Runtime == "python" {
		module := strings.ReplaceAll(strings.TrimSuffix(example, "/__init__"), "/", ".")
		return fmt.Sprintf("Import what you use from where it is: `from %s import ...`, and remove the imports from the package's __init__.py.", module)
	}
	if n.Code.Own() {
		return fmt.Sprintf("Import what you use from its own file: `require('./%s')` instead of `require('./%s')`.", example, dir)
	}
	return fmt.Sprintf("Import what you use from its own file: `require('%s')` instead of `require('%s')`, or bundle with tree shaking (`esbuild --bundle`).", example, n.Code.Name)
}

// importedBy says in words who imports n.
func (p *InitProfile) importedBy(n *initprofile.Node) string {
	chain := p.tree.Chain(n)
	if len(chain) == 0 {
		return "It is loaded as the handler, or by the runtime."
	}
	return "Imported by " + strings.Join(chain, " > ") + "."
}

// usage returns the package with the name, nil if there is none.
func (p *InitProfile) usage(name string) *initprofile.Usage {
	for _, u := range p.tree.Usages() {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// wholeSDKRule: packages that load every service of a cloud.
func wholeSDKRule(p *InitProfile) []Finding {
	var out []Finding
	for _, sdk := range []struct{ name, change string }{
		{"aws-sdk", "Use the clients that you need of the AWS SDK v3: `const {S3Client} = require('@aws-sdk/client-s3')` instead of `require('aws-sdk')`. Until then `require('aws-sdk/clients/s3')` loads one service."},
		{"googleapis", "Use the package of the one API: `require('@googleapis/drive')` instead of `require('googleapis')`."},
	} {
		u := p.usage(sdk.name)
		if u == nil || u.Entry == nil || u.Total < p.worth() || !whole(p, sdk.name) {
			continue
		}
		f := profileFinding("whole-sdk", basisPredicted, u.Modules, u.Total)
		f.Claim = fmt.Sprintf("%s is loaded as a whole: %s modules, %s.", u.Label(), thousands(u.Modules), ms(milli(u.Total)))
		f.Change = sdk.change
		f.Evidence = append(f.Evidence, p.importedBy(u.Entry), "Predicted: an upper bound, the one client that stays costs some of it.")
		out = append(out, f)
	}
	return out
}

// whole tells all of an SDK from one service of it.
func whole(p *InitProfile, name string) bool {
	found := false
	p.tree.Walk(func(n *initprofile.Node) {
		file := n.Path
		found = found || n.Code.Name == name && (strings.HasSuffix(file, "/aws-sdk/lib/aws.js") || strings.HasSuffix(file, "/aws-sdk/clients/all.js") ||
			strings.HasSuffix(file, "/googleapis/build/src/apis/index.js"))
	})
	return found
}

// unusedRule: a package of which the first invocation executed nothing. It
// needs coverage, which is measured in deep mode only.
func unusedRule(p *InitProfile) []Finding {
	covered := p.coverage()
	if len(covered) == 0 {
		return nil
	}
	type use struct{ hit, functions, files int64 }
	uses := map[*initprofile.Code]*use{}
	p.tree.Walk(func(n *initprofile.Node) {
		if c, ok := covered[n.Path]; ok {
			if uses[n.Code] == nil {
				uses[n.Code] = &use{}
			}
			u := uses[n.Code]
			u.hit, u.functions, u.files = u.hit+c.Hit, u.functions+c.Functions, u.files+1
		}
	})
	var out []Finding
	for _, u := range p.tree.Usages() {
		c := uses[u.Code]
		if c == nil || c.hit > 0 || c.files*10 < u.Modules*8 || c.functions == 0 || u.Own() || u.Name == "" || u.Self < p.worth() || u.Entry == nil || u.Origin != initprofile.FromFunction && u.Origin != initprofile.FromLayer {
			continue
		}
		f := profileFinding("unused-package", string(lifecycle.Derived), c.functions, u.Self)
		f.Severity = severityInfo
		f.Claim = fmt.Sprintf("%s takes %s of the init, and none of its %s functions is known to have run in the first invocation.", u.Label(), ms(milli(u.Self)), thousands(c.functions))
		f.Change = fmt.Sprintf("Load it where it is used: move `require('%s')` into the function that needs it, or `await import('%s')`.", u.Name, u.Name)
		if p.tree.Runtime == "python" {
			f.Change = fmt.Sprintf("Load it where it is used: move `import %s` into the function that needs it.", u.Name)
		}
		f.Evidence = append(f.Evidence, p.importedBy(u.Entry), "Derived: its self time is measured; the coverage of V8 does not know of every function that ran only once. Check before you move it.")
		out = append(out, f)
	}
	return out
}

// duplicateRule: one package from several folders.
func duplicateRule(p *InitProfile) []Finding {
	byName := map[string][]*initprofile.Usage{}
	for _, u := range p.tree.Usages() {
		if u.Name != "" && u.Root != "" && u.Modules > 0 && (u.Origin == initprofile.FromFunction || u.Origin == initprofile.FromLayer) {
			byName[u.Name] = append(byName[u.Name], u)
		}
	}
	var out []Finding
	for _, name := range keysOf(byName) {
		copies := byName[name]
		if len(copies) < 2 {
			continue
		}
		var saves time.Duration
		var where []string
		for i, u := range copies { // the heaviest first: that one stays
			if i > 0 {
				saves += u.Self
			}
			where = append(where, strings.TrimSpace(fmt.Sprintf("%s in %s, %s", u.Version, u.Root, ms(milli(u.Self)))))
		}
		if saves < time.Millisecond {
			continue
		}
		f := profileFinding("duplicate-package", basisMeasured, int64(len(copies)), saves)
		f.Claim = fmt.Sprintf("%s is loaded %d times, from different folders.", name, len(copies))
		f.Change = fmt.Sprintf("Let the versions agree: `npm dedupe`, or an `overrides` entry {%q: \"...\"} in package.json; `npm ls %s` says who asks for which.", name, name)
		f.Evidence = append(f.Evidence, where...)
		f.Evidence = append(f.Evidence, "Measured: the self time of all copies but the heaviest.")
		if saves < p.worth() {
			f.Severity = severityInfo
		}
		out = append(out, f)
	}
	return out
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// tooling are packages that build, test or inspect, and serve no request.
func tooling(name string) bool {
	switch strings.ToLower(name) {
	case "typescript", "ts-node", "tsx", "jest", "mocha", "chai", "sinon", "vitest", "nyc", "webpack", "esbuild", "rollup", "eslint", "prettier", "nodemon",
		"aws-sdk-mock", "aws-sdk-client-mock", "serverless", "serverless-offline", "babel-register", "@babel/core", "@babel/register", "@swc/core", "@swc/register",
		"pytest", "ipython", "ipdb", "black", "mypy", "pylint", "moto", "coverage", "nose", "pip", "rspec", "rspec-core", "pry", "byebug", "rubocop":
		return true
	}
	return strings.HasPrefix(name, "@jest/")
}

// toolingRule: development tooling in production.
func toolingRule(p *InitProfile) []Finding {
	var out []Finding
	for _, u := range p.tree.Usages() {
		if !tooling(u.Name) || u.Entry == nil || u.Total < 5*time.Millisecond || u.Origin != initprofile.FromFunction && u.Origin != initprofile.FromLayer {
			continue
		}
		f := profileFinding("dev-tooling", basisMeasured, u.Modules, u.Total)
		f.Claim = fmt.Sprintf("%s is a development tool, and takes %s of the init.", u.Label(), ms(milli(u.Total)))
		f.Change = fmt.Sprintf("Build before you deploy (`tsc`, `esbuild`), install with `npm ci --omit=dev`, and remove the import of %q.", u.Name)
		if p.tree.Runtime == "python" {
			f.Change = fmt.Sprintf("Move %q into the development requirements, and remove its import.", u.Name)
		}
		f.Evidence = append(f.Evidence, p.importedBy(u.Entry), "Measured: it and what it loads.")
		out = append(out, f)
	}
	return out
}

// sourceMapRule: source maps are on, and large.
func sourceMapRule(p *InitProfile) []Finding {
	const large = 1 << 20
	bytes := p.tree.Number(initprofile.FactMapBytes)
	support := p.usage("source-map-support")
	on := p.tree.Facts[initprofile.FactSourceMaps] == "on" || support != nil
	if !on || bytes < large {
		return nil
	}
	// Node.js reads and parses the map of a file when it loads the file: about
	// as long as it takes to parse as much JSON.
	const perMB = 12 * time.Millisecond
	saves := time.Duration(float64(bytes) / (1 << 20) * float64(perMB))
	basis := basisPredicted
	f := profileFinding("source-maps", basis, bytes, saves)
	f.Claim = fmt.Sprintf("Source maps are on, and those of the loaded files have %s.", megabytes(float64(bytes)/(1<<20)))
	f.Change = "Remove `--enable-source-maps` from NODE_OPTIONS (or `require('source-map-support/register')`), keep the maps out of the package (`esbuild --sourcemap=external`), and resolve stack traces where they are read."
	f.Evidence = append(f.Evidence, "Predicted: 12 ms for each MB of map that is read and parsed.")
	return []Finding{f}
}

// codeCacheRule: Node.js compiles from source what it could load compiled.
func codeCacheRule(p *InitProfile) []Finding {
	if p.tree.Runtime != "nodejs" || p.tree.Facts[initprofile.FactCompileCache] != "off" {
		return nil
	}
	var bytes int64
	var own time.Duration
	p.tree.Walk(func(n *initprofile.Node) {
		if n.Kind == initprofile.CJS || n.Kind == initprofile.ESM {
			bytes += n.Bytes
			own += n.Self
		}
	})
	const least = 512 << 10
	major, _, _ := strings.Cut(strings.TrimPrefix(p.tree.RuntimeVersion, "v"), ".")
	if bytes < least || own < 5*p.worth() || major == "18" || major == "20" {
		return nil
	}
	// Measured on an S3 client, lodash and 120 small files: a warm cache took
	// 23 % off the init, 16 % at least.
	const share, low = 0.23, 0.16
	f := profileFinding("no-code-cache", basisPredicted, bytes, time.Duration(share*float64(own)))
	f.Effect.Low, f.Effect.High = figure(milli(time.Duration(low*float64(own)))), figure(milli(time.Duration(2*(share-low/2)*float64(own))))
	f.Claim = fmt.Sprintf("Node.js compiles %s of source in every init: there is no code cache.", megabytes(float64(bytes)/(1<<20)))
	f.Change = "Ship a compile cache: run the handler once in the build with `NODE_COMPILE_CACHE=./.cache node -e \"require('./app')\"`, pack the folder, and set NODE_COMPILE_CACHE=/var/task/.cache. It has to be made by the same version of Node.js."
	f.Evidence = append(f.Evidence, fmt.Sprintf("Predicted: 23 %% of the %s that these modules take, as measured on an S3 client with lodash.", ms(milli(own))))
	return []Finding{f}
}

// bytecodeRule: Python compiles what it could load compiled.
func bytecodeRule(p *InitProfile) []Finding {
	checked, missing := p.tree.Number(initprofile.FactPycChecked), p.tree.Number(initprofile.FactPycMissing)
	if p.tree.Runtime != "python" || checked < 10 || missing*2 < checked {
		return nil
	}
	var bytes int64
	var own time.Duration
	p.tree.Walk(func(n *initprofile.Node) {
		if n.Kind == initprofile.Python && (n.Code.Origin == initprofile.FromFunction || n.Code.Origin == initprofile.FromLayer) {
			bytes += n.Bytes
			own += n.Self
		}
	})
	if own < p.worth() {
		return nil
	}
	// Compiling is more than half of importing a module that has no bytecode.
	saves := time.Duration(0.5 * float64(own) * float64(missing) / float64(checked))
	f := profileFinding("no-bytecode", basisPredicted, missing, saves)
	f.Claim = fmt.Sprintf("%s of %s modules have no bytecode for Python %s: they are compiled in every init.", thousands(missing), thousands(checked), shortVersion(p.tree.RuntimeVersion))
	f.Change = "Compile when you build, with the same version of Python: `python -m compileall -q --invalidation-mode unchecked-hash .`, and pack the __pycache__ folders. (In /var/task nothing can be written, so Python cannot keep it.)"
	f.Evidence = append(f.Evidence, "Predicted: half of the time of the modules that have none.")
	return []Finding{f}
}

func shortVersion(v string) string {
	parts := strings.SplitN(v, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// smallFilesRule: very many small files, each with a cost of its own.
func smallFilesRule(p *InitProfile) []Finding {
	const fewest, small = 150, 8 << 10
	var files, bytes int64
	var costs []time.Duration
	p.tree.Walk(func(n *initprofile.Node) {
		if n.Kind != initprofile.CJS && n.Kind != initprofile.ESM || n.Code.Origin != initprofile.FromFunction && n.Code.Origin != initprofile.FromLayer {
			return
		}
		files += 1 + int64(n.More)
		bytes += n.Bytes
		if n.More == 0 && n.Bytes < 2<<10 {
			costs = append(costs, n.Self)
		}
	})
	if files < fewest || bytes/files > small || len(costs) < 20 {
		return nil
	}
	slices.Sort(costs)
	each := costs[len(costs)/2]
	saves := time.Duration(files-1) * each
	if saves < p.worth() {
		return nil
	}
	f := profileFinding("many-small-files", basisPredicted, files, saves)
	f.Claim = fmt.Sprintf("The init loads %s files of %s on average. Finding and opening one takes %s, whatever is in it.", thousands(files), kilobytes(float64(bytes)/float64(files)), ms(milli(each)))
	f.Change = "Bundle into one file: `esbuild app.js --bundle --platform=node --minify --outfile=dist/app.js` (`--external:` for native packages)."
	f.Evidence = append(f.Evidence, fmt.Sprintf("Predicted: the median time of the %d smallest files, for each file but one.", len(costs)))
	return []Finding{f}
}

func kilobytes(v float64) string { return digits(v/1024) + " kB" }

// sideEffectRule: code of the function's own that waits while it is imported.
func sideEffectRule(p *InitProfile) []Finding {
	const least = 30 * time.Millisecond
	waits := func(n *initprofile.Node) time.Duration {
		if n.CPU < 0 {
			return -1
		}
		return max(0, n.End-n.Start-n.CPU)
	}
	var out []Finding
	p.tree.Walk(func(n *initprofile.Node) {
		wait := waits(n)
		if !n.Code.Own() || wait < 0 {
			return
		}
		for _, c := range n.Children {
			if w := waits(c); w > 0 {
				wait -= w // it is that one that waits
			}
		}
		wait = min(wait, n.Self)
		if wait < max(least, p.worth()) || wait*5 < n.Self*4 { // a busy machine also keeps code from its CPU
			return
		}
		f := profileFinding("import-side-effect", basisMeasured, 1, wait)
		f.Claim = fmt.Sprintf("%s waits for %s while it is imported: %s of time of its own, %s of CPU.", p.tree.Label(n), ms(milli(wait)), ms(milli(n.Self)), ms(milli(max(0, n.Self-wait))))
		f.Change = "Imports are to define, not to do. Start what waits (a request, a file over the network, a sleep) without waiting for it and await it in the handler: `const config = load(); exports.handler = async () => { await config; ... }`; or do it on first use."
		if p.tree.Runtime == "python" {
			f.Change = "Imports are to define, not to do. Move what waits (a request, a connection, a sleep) into a function with @functools.cache that the handler calls."
		}
		f.Evidence = append(f.Evidence, p.importedBy(n), "Measured: its self time less the CPU that the process used meanwhile.")
		out = append(out, f)
	})
	return out
}

// failedInit says where inits that did not succeed were.
func failedInit(f *Function) []Finding {
	byPlace := map[string][]*InitProfile{}
	for _, p := range f.profiles {
		if p.Status != string(lifecycle.Success) && p.Status != "" && p.Inside != "" {
			byPlace[p.Inside] = append(byPlace[p.Inside], p)
		}
	}
	var out []Finding
	for _, place := range keysOf(byPlace) {
		list := byPlace[place]
		chain := strings.Split(place, " > ")
		last := chain[len(chain)-1]
		verb := map[string]string{"timeout": "timed out", "error": "failed", "failure": "failed"}[list[0].Status]
		out = append(out, Finding{
			ID: "init-inside", Severity: severityUrgent, Basis: basisMeasured, N: int64(len(list)),
			Claim:    fmt.Sprintf("Init %s inside %s.", verb, last),
			Effect:   Effect{Unit: unitMS, Value: figure(list[0].InitMS)},
			Evidence: []string{"Loading " + place + ".", fmt.Sprintf("Seen in %d kept cold starts, the last of %s.", len(list), list[0].Start.UTC().Format("2006-01-02 15:04:05 UTC"))},
			Change:   fmt.Sprintf("Look at what %s does when it is loaded: a request without a timeout, a wait, a loop.", last),
		})
	}
	return out
}

// deployRule: the newest version starts slower than the one before it.
func deployRule(f *Function) []Finding {
	if len(f.ProfileDiffs) == 0 {
		return nil
	}
	d := f.ProfileDiffs[0]
	delta := d.ToMS - d.FromMS
	if delta < max(20, 0.05*d.FromMS) {
		return nil
	}
	var grew []string
	var change string
	for _, c := range d.Changes {
		if c.DeltaMS <= 0 || len(grew) >= 3 {
			continue
		}
		text := c.Name
		if c.ToVersion != "" {
			text += " " + c.ToVersion
		}
		text += fmt.Sprintf(" (+%s)", ms(c.DeltaMS))
		if n := len(c.ImportedBy); n > 0 {
			text += ", imported from " + c.ImportedBy[0]
		}
		grew = append(grew, text)
		if change == "" {
			change = packageChangeText(c)
		}
	}
	claim := fmt.Sprintf("The deploy of version %s added %s to the init", d.ToVersion, ms(rounded(delta)))
	if len(grew) > 0 {
		claim += ": " + strings.Join(grew, "; ")
	}
	x := profileFinding("deploy-packages", basisMeasured, d.Profiles, time.Duration(math.Round(delta*1e6)))
	x.Claim = claim + "."
	x.Change = change
	if change == "" {
		x.Change = "Compare the two profiles: no package explains it alone."
	}
	x.Evidence = append(x.Evidence, fmt.Sprintf("Medians of the cold starts that are kept, at %d MB: %s before (version %s), %s now.", d.MemoryMB, ms(d.FromMS), d.FromVersion, ms(d.ToMS)))
	return []Finding{x}
}

func packageChangeText(c PackageChange) string {
	switch {
	case c.FromMS == 0:
		return fmt.Sprintf("%s is new in this version: load it where it is used, or use something smaller.", c.Name)
	case c.FromVersion != c.ToVersion:
		return fmt.Sprintf("%s went from %s to %s: pin the earlier version, or report it.", c.Name, c.FromVersion, c.ToVersion)
	}
	return fmt.Sprintf("Look at what changed in the use of %s.", c.Name)
}
