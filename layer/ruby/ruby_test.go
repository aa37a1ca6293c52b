// Package ruby_test runs the Ruby hook in this machine's Ruby, under our small
// runtime client: AWS's own is a gem, which the tests cannot install everywhere.
package ruby_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/thaw-lambda/thaw/layer"
	"github.com/thaw-lambda/thaw/layer/hooktest"
)

func ruby(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ruby")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("in CI this must run: %v", err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
	return path
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// bare starts a function without the hook.
func bare(t *testing.T, dir string) hooktest.Command {
	return hooktest.Command{Args: []string{ruby(t), abs(t, "../../examples/runtime/ruby/bootstrap.rb")}, Dir: dir}
}

func hooked(t *testing.T, dir string, options ...string) hooktest.Command {
	c := bare(t, dir)
	c.Env = append(c.Env, "RUBYOPT="+strings.Join(append([]string{"-r" + abs(t, "thaw")}, options...), " "))
	return c
}

func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func parse(t *testing.T, f *hooktest.Function) *hooktest.Profile {
	t.Helper()
	p, err := hooktest.Parse(f.Profile())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	return p
}

func find(p *hooktest.Profile, name string) *hooktest.Record {
	for _, r := range p.Records {
		if r.Name == name || strings.HasSuffix(r.Name, "/"+name) {
			return r
		}
	}
	return nil
}

func TestVectors(t *testing.T) {
	hooktest.Run(t, "../testdata/vectors", "ruby", func(dir string) hooktest.Command { return hooked(t, dir) })
}

// same runs a function with the hook and without, and wants no difference.
func same(t *testing.T, dir string, fails bool, options ...string) *hooktest.Function {
	t.Helper()
	live := func(c hooktest.Command) (string, *hooktest.Function) {
		f := hooktest.Start(t, c)
		if fails {
			a := f.Answer()
			code := f.WaitExit().ExitCode()
			message, _, _ := strings.Cut(a.Body, `"stackTrace"`) // there Ruby shows the hook, as it shows RubyGems
			return fmt.Sprint(a.Kind, message, code), f
		}
		a, b := f.Invoke(`{}`), f.Invoke(`{}`)
		f.WaitNext(3)
		f.Kill()
		return fmt.Sprint(a, b, f.Output()), f
	}
	without := bare(t, dir)
	if len(options) > 0 {
		without.Env = append(without.Env, "RUBYOPT="+strings.Join(options, " "))
	}
	want, _ := live(without)
	got, f := live(hooked(t, dir, options...))
	if got != want {
		t.Errorf("with the hook:\n%s\nwithout:\n%s", got, want)
	}
	return f
}

func TestBehavesAsWithoutIt(t *testing.T) {
	const world = `
require "set"
def handler(event:, context:)
  ours = %w[THAW_PROFILE_DIR AWS_LAMBDA_RUNTIME_API]
  { env: ENV.to_h.reject { |k, _| ours.include?(k) }.sort, path: $LOAD_PATH,
    child: %x(ruby -e 'print ENV["RUBYOPT"].inspect, $LOADED_FEATURES.grep(/thaw/)') }
end
`
	same(t, write(t, "app.rb", world), false)
	same(t, write(t, "app.rb", world), false, "-W:no-experimental", "-rset")

	f := func(app string, files ...string) *hooktest.Function {
		t.Helper()
		return same(t, write(t, append([]string{"app.rb", app + "\ndef handler(event:, context:)\n  $result\nend\n"}, files...)...), false)
	}
	p := parse(t, f(`
$LOAD_PATH.unshift(__dir__)
autoload :Lazy, "lazy"
$result = [Lazy::N, require("lazy"), require_relative("lib/b"), load(File.join(__dir__, "again.rb")), load("again.rb", true)]
require "date"
require Pathname.new("erb").to_s rescue $result << $!.class
Kernel.require "shellwords"
`, "lazy.rb", "module Lazy\n  N = 7\nend\n", "lib/b.rb", "require_relative '../c'\n", "c.rb", "$c = 1\n", "again.rb", "$again = ($again || 0) + 1\n"))
	for _, name := range []string{"lazy", "lib/b", "c", "again.rb", "date", "shellwords"} {
		if find(p, name) == nil {
			t.Errorf("%s is not on record", name)
		}
	}
	// A function that patches require itself.
	f(`
module Kernel
  alias_method :theirs, :require
  def require(name)
    ($seen ||= []) << name
    theirs(name)
  end
end
require "abbrev"
$result = $seen
`)
	// Threads and fork.
	p = parse(t, f(`
Thread.new { require "ripper" }.join
pid = fork { require "matrix" rescue nil; require "observer"; exit! 3 }
$result = [Process.wait2(pid)[1].exitstatus]
pid = fork { require "observer"; exit 4 }
$result << Process.wait2(pid)[1].exitstatus
require "singleton"
`))
	if find(p, "ripper") != nil || find(p, "observer") != nil {
		t.Error("another thread or process is on record")
	}
	// Warnings name who asked.
	f("require_relative 'old'\n$result = 1", "old.rb", "def old\n  warn('old', uplevel: 0)\nend\nold\n")
}

func TestFailuresReadTheSame(t *testing.T) {
	f := func(app string, files ...string) {
		t.Helper()
		same(t, write(t, append([]string{"app.rb", app}, files...)...), true)
	}
	f("require_relative 'broken'", "broken.rb", "raise KeyError, 'TABLE'")
	f("require 'not/there'")
	f("require_relative 'not_there'")
	f("require_relative 'broken'", "broken.rb", "def (")
	f("load 'nothing.rb'")
	f("require 7")
}

func TestManyFiles(t *testing.T) {
	files := []string{"app.rb", `
require "tmpdir"
dir = Dir.mktmpdir
File.write("#{dir}/x.rb", "")
50_000.times { load "#{dir}/x.rb" }
FileUtils.rm_rf(dir)
def handler(event:, context:)
  1
end
`}
	f := same(t, write(t, files...), false)
	p := parse(t, f)
	sum := 0
	for _, rest := range p.Packages {
		sum += rest.Count
	}
	if len(p.Records)+sum < 50_000 || len(p.Records) > hooktest.MaxRecords || p.Marks["truncated"] != "1" {
		t.Errorf("%d records, %d in packages, truncated %q", len(p.Records), sum, p.Marks["truncated"])
	}
	if size := len(f.Profile()); size > hooktest.MaxBytes+64<<10 {
		t.Errorf("%d bytes", size)
	}
}

func TestStrangePaths(t *testing.T) {
	strange := []string{"tab\there", "line\nend", `back\slash`, "größe", "not\xffutf8", strings.Repeat("lang-", 40) + "/" + strings.Repeat("lang-", 40)}
	files := []string{"app.rb", "Dir.glob('**/in*.rb').sort.each { |f| require_relative f }\ndef handler(event:, context:) = $LOADED_FEATURES.grep(/in\\d.rb/n).size\n"}
	for i, dir := range strange {
		files = append(files, fmt.Sprintf("%s/in%d.rb", dir, i), "")
	}
	p := parse(t, same(t, write(t, files...), false))
	for _, want := range []string{"/tab\there/in0.rb", "/line\nend/in1.rb", `/back\slash/in2.rb`, "/größe/in3.rb", "/not\ufffdutf8/in4.rb", "g-/in5.rb"} {
		found := false
		for _, r := range p.Records {
			found = found || strings.HasSuffix(r.Path, want)
		}
		if !found {
			t.Errorf("%q is not on record", want)
		}
	}
}

// Where nothing can be written the function runs all the same.
func TestNoRoom(t *testing.T) {
	dir := write(t, "app.rb", "require 'json'\nrequire_relative 'lib'\ndef handler(event:, context:)\n  require 'erb'\n  'fine'\nend\n", "lib.rb", "")
	f := func(name string, change func(c *hooktest.Command)) {
		t.Helper()
		c := hooked(t, dir)
		change(&c)
		f := hooktest.Start(t, c)
		for range 2 {
			if got := f.Invoke(`{}`); got.Body != `"fine"` {
				t.Errorf("%s: %v", name, got)
			}
		}
		if f.Output() != "" {
			t.Errorf("%s: it printed %s", name, f.Output())
		}
	}
	elsewhere := func(folder string) func(c *hooktest.Command) {
		return func(c *hooktest.Command) { c.Env = append(c.Env, "THAW_PROFILE_DIR="+folder) }
	}
	f("read-only", elsewhere("/proc/thaw"))
	target := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	f("a link", elsewhere(link))
	if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
		t.Errorf("it followed a link: %v, %v", entries, err)
	}
	f("full", func(c *hooktest.Command) {
		c.Args = append([]string{"sh", "-c", `ulimit -f 1 && exec "$@"`, "sh"}, c.Args...)
	})
}

// Real input: what the standard library and its native parts cost.
func TestStandardLibrary(t *testing.T) {
	dir := write(t, "app.rb", "require 'openssl'\nrequire 'csv'\nrequire 'rexml/document'\ndef handler(event:, context:)\n  ThawInitProfile.class.to_s\nend\n")
	f := hooktest.Start(t, hooked(t, dir))
	f.Invoke(`{}`)
	f.WaitNext(2)
	p := parse(t, f)
	for name, kind := range map[string]string{"openssl": "rb", "openssl.so": "native", "csv": "rb", "rexml/document": "rb"} {
		r := find(p, name)
		if r == nil || r.Kind != kind || r.Path == "" || r.End-r.Start < 100 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	begin, _ := strconv.Atoi(p.Marks["handler_begin"])
	end, _ := strconv.Atoi(p.Marks["handler_end"])
	if app := find(p, "app"); app == nil || app.Path != filepath.Join(dir, "app.rb") || int64(end) != app.End || int64(begin) > app.Start {
		t.Errorf("the handler, %d to %d: %+v", begin, end, app)
	}
	t.Logf("%d records, the hook says it took %s µs", len(p.Records), p.Marks["hook_us"])
}

// The layer, as it is packed, with its wrapper.
func TestThroughTheLayer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "layer.zip")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Pack(out, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	opt := t.TempDir()
	if err := layer.Unpack(file, opt); err != nil {
		t.Fatal(err)
	}
	c := bare(t, write(t, "app.rb", "require 'csv'\ndef handler(event:, context:) = ENV['RUBYOPT']\n"))
	c.Args = append([]string{filepath.Join(opt, layer.HooksPath, "wrapper")}, c.Args...)
	f := hooktest.Start(t, c)
	if got := f.Invoke(`{}`); got.Body != "null" {
		t.Errorf("RUBYOPT in the function: %v", got)
	}
	if find(parse(t, f), "csv") == nil {
		t.Errorf("the profile is %s", f.Profile())
	}
}
