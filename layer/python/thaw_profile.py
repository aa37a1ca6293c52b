# Writes down which module was imported when, by whom, and for how long, as
# layer/HOOKS.md describes. For Python 3.9 and later.
#
# Python looks _frozen_importlib._find_and_load up by name for every import of a
# module that is not there yet, and so does importlib.import_module, which is how
# Lambda's runtime imports the handler (and what -X importtime does not see).
# That function and _find_spec, which knows the file, are replaced until the
# first invocation is over. Only the main thread is recorded.

import _frozen_importlib
import atexit
import os
import sys
import time
from _thread import get_ident
from time import perf_counter_ns, process_time_ns

MAX_RECORDS = 4096
MAX_BYTES = 512 << 10
MAX_TEXT = 256
MAX_PACKAGES = 256
PATIENCE_NS = 100_000_000
WAIT_NS = 5_000_000  # from this on it matters whether a module computed or waited
TRACE = "_X_AMZN_TRACE_ID"
RIC = "awslambdaric.lambda_runtime_client"
ESCAPES = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
STDLIB = getattr(sys, "stdlib_module_names", ())

# The fields of a record, which is a list: the cheapest thing that can change.
ID, PARENT, START, END, NAME, FLAGS, INNER, SPEC, TOLD, CPU = range(10)


def start(began):
    """Begins to record. began is when the hook was entered, by perf_counter_ns."""
    profile = Profile(began)
    profile.install()
    if profile.deep:
        profile.coverage = coverage()
    profile.cost = perf_counter_ns() - began


def coverage():
    import thaw_coverage

    del sys.modules["thaw_coverage"]
    return thaw_coverage.of_this_python()


def clean(text, keep_end=False):
    """Text as the wire has it: escaped, valid UTF-8, at most 256 bytes."""
    if len(text) <= MAX_TEXT and text.isascii() and text.isprintable() and "\\" not in text:
        return text
    try:
        text = os.fsencode(text).decode("utf-8", "replace")
    except UnicodeError:
        text = text.encode("utf-8", "replace").decode()
    text = text[-MAX_TEXT:] if keep_end else text[:MAX_TEXT]
    while True:
        escaped = text.translate(ESCAPES)
        if len(escaped.encode()) <= MAX_TEXT:
            return escaped
        text = text[1:] if keep_end else text[:-1]


class Profile:
    def __init__(self, began):
        self.origin, self.origin_unix = began, time.time_ns() - (perf_counter_ns() - began)
        self.main, self.pid = get_ident(), os.getpid()
        self.off = False
        self.fd = None
        self.written = self.flushed = self.cost = 0
        self.count = 0  # of ids given out
        self.current = None  # the innermost import that is running
        self.pending = []  # records that the file does not have yet, or has as open
        self.totals = {}  # [count, self time] by package, beyond the limits
        self.packages = set()
        self.marks = []
        self.handler = os.environ.get("_HANDLER", "").rpartition(".")[0].replace("/", ".")
        self.loaded = False  # the handler is
        self.nexts = 0  # how often AWS's client has asked for an invocation
        self.trace = None  # of the first invocation
        self.root = os.environ.get("LAMBDA_TASK_ROOT") or "/var/task"
        self.deep = os.environ.get("THAW_PROFILE") == "deep"
        self.coverage = None

    # How imports are seen.

    def install(self):
        self.original = _frozen_importlib._find_and_load, _frozen_importlib._find_spec
        self.replaced = self.replacements(*self.original)
        _frozen_importlib._find_and_load, _frozen_importlib._find_spec = self.replaced
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self.forked)

    def replacements(self, find_and_load, find_spec):
        profile, modules, main, now = self, sys.modules, self.main, perf_counter_ns
        begin, end, found = self.begin, self.end, self.found
        # Up to 3.10 an exception that is raised again has its old traceback.
        trims = sys.version_info >= (3, 11)

        def _find_and_load(name, import_):
            if name in modules or profile.off or get_ident() != main:
                return find_and_load(name, import_)
            entered = now()
            record = begin(name)
            record[START] = started = now()
            try:
                return find_and_load(name, import_)
            except BaseException as error:
                record[FLAGS] = "e" + record[FLAGS]
                if trims and error.__traceback__ is not None:
                    error.__traceback__ = error.__traceback__.tb_next
                raise
            finally:
                record[END] = ended = now()
                end(record)
                profile.cost += started - entered + now() - ended

        def _find_spec(name, path, target=None):
            spec = find_spec(name, path, target)
            record = profile.current
            if record is not None and record[NAME] is name and get_ident() == main:
                found(record, spec)
            return spec

        # Python leaves the frames of this file out of tracebacks, and warnings
        # do not blame it.
        file = find_and_load.__code__.co_filename
        for function in _find_and_load, _find_spec:
            function.__code__ = function.__code__.replace(co_filename=file)
        return _find_and_load, _find_spec

    def begin(self, name):
        parent = self.current
        record = [0, parent, 0, 0, name, "", 0, None, False, 0]
        try:
            if self.loaded and self.late():
                record[FLAGS] = "l"
            if self.off:
                return record
            if self.count < MAX_RECORDS and self.written < MAX_BYTES:
                self.count += 1
                record[ID] = self.count
                self.pending.append(record)
            if not self.loaded and name == self.handler:
                self.mark("handler_begin")
                self.marks.append("m\tcpu_begin_us\t%d\n" % (process_time_ns() // 1000))
            self.current = record
        except Exception:
            self.fail()
        return record

    def late(self):
        """Whether the first invocation has begun. Stops when the second has."""
        if self.nexts:
            return True
        trace = os.environ.get(TRACE)
        if trace is None:
            return False
        if self.trace is None:
            self.trace = trace
        elif trace != self.trace:
            self.stop()
        return True

    def found(self, record, spec):
        """Early lines: an init that hangs or is killed still says where it was."""
        record[SPEC] = spec
        if not record[ID]:
            return  # beyond the limits
        try:
            now = perf_counter_ns()
            package = record[NAME].partition(".")[0]
            new = package not in self.packages and package not in STDLIB
            if new or now - self.flushed > PATIENCE_NS:
                self.packages.add(package)
                self.flush()
                self.cost += perf_counter_ns() - now
            if package == record[NAME] and spec is not None and str(spec.origin).startswith(self.root):
                record[CPU] = -process_time_ns()
        except Exception:
            self.fail()

    def end(self, record):
        self.current = parent = record[PARENT]
        if self.off:
            return
        try:
            took = record[END] - record[START]
            if parent is not None:
                parent[INNER] += took
            if record[CPU]:
                record[CPU] = record[CPU] + process_time_ns() if took > WAIT_NS else 0
            if not record[ID]:
                self.sum(record)
            if not self.loaded and record[NAME] == self.handler:
                self.handler_loaded(record[END])
            elif parent is None and record[FLAGS].endswith("l"):
                self.flush()
        except Exception:
            self.fail()

    def sum(self, record):
        package = record[NAME].partition(".")[0]
        if package not in self.totals and len(self.totals) >= MAX_PACKAGES:
            package = "other"
        total = self.totals.setdefault(package, [0, 0])
        total[0] += 1
        total[1] += record[END] - record[START] - record[INNER]

    # When recording ends.

    def handler_loaded(self, when):
        self.loaded = True
        self.mark("handler_end", when)
        self.marks.append("m\tcpu_end_us\t%d\n" % (process_time_ns() // 1000))
        if self.coverage:
            self.coverage.begin()
        self.flush(last=True)
        self.follow()

    def follow(self):
        """Has AWS's client tell when it asks for an invocation."""
        classes = getattr(getattr(sys.modules.get(RIC), "LambdaRuntimeClient", None), "__mro__", ())
        owner = next((c for c in classes if "wait_next_invocation" in vars(c)), None)
        if owner is None:
            return
        wait = owner.wait_next_invocation
        profile = self

        def wait_next_invocation(self):
            profile.next()
            if profile.off and owner.wait_next_invocation is wait_next_invocation:
                owner.wait_next_invocation = wait
            return wait(self)

        owner.wait_next_invocation = wait_next_invocation

    def next(self):
        try:
            self.nexts += 1
            if self.nexts > 1:
                self.stop()
            elif not self.off:
                self.mark("first_next")
                self.flush()
        except Exception:
            self.fail()

    def stop(self):
        """Writes the rest and takes everything back."""
        if self.off:
            return
        try:
            self.flush(last=True)
            if self.coverage:
                lines = (
                    "c\t%d\t%d\t%s\n" % (executed, functions, clean(path, keep_end=True))
                    for executed, functions, path in self.coverage.files()[:MAX_RECORDS]
                )
                self.write("".join(lines))
        except Exception:
            pass
        self.fail()

    def fail(self):
        """Takes everything back, and closes the file as it is."""
        self.off = True
        try:
            atexit.unregister(self.stop)
            for name, ours, theirs in zip(("_find_and_load", "_find_spec"), self.replaced, self.original):
                if getattr(_frozen_importlib, name) is ours:  # nobody has replaced it again
                    setattr(_frozen_importlib, name, theirs)
            if self.coverage:
                self.coverage.stop()
            if self.fd is not None:
                os.close(self.fd)
        except Exception:
            pass

    def forked(self):
        """The child is another process, and the file is not its own."""
        if not self.off:
            self.fail()

    # How it is written.

    def micros(self, when):
        return (when - self.origin) // 1000

    def mark(self, name, when=None):
        self.marks.append("m\t%s\t%d\n" % (name, self.micros(when or perf_counter_ns())))

    def flush(self, last=False):
        began = perf_counter_ns()
        lines = self.marks
        if self.fd is None:
            self.open()
            lines[:0] = self.header()
        open_records = []
        for record in self.pending:
            if not record[END]:
                open_records.append(record)
                if record[TOLD]:
                    continue
                record[TOLD] = True
            elif self.written > MAX_BYTES:
                self.sum(record)
                continue
            lines.append(self.line(record))
            if record[CPU] > 0:
                lines.append("w\t%d\t%d\n" % (record[ID], record[CPU] // 1000))
        if last and self.totals:
            lines.append("m\ttruncated\t1\n")
            for package, (count, own) in self.totals.items():
                lines.append("p\tpy\t%d\t%d\t0\t%s\n" % (count, own // 1000, clean(package)))
        self.pending, self.marks = open_records, []
        self.flushed = now = perf_counter_ns()
        lines.append("m\thook_us\t%d\n" % ((self.cost + now - began) // 1000))
        self.write("".join(lines))

    def line(self, record):
        parent = record[PARENT]
        kind, size, path = "py", 0, getattr(record[SPEC], "origin", None) or ""
        if path == "built-in" or path == "frozen":
            kind, path = "builtin", ""
        elif path.endswith(".so"):
            kind = "native"
        if path and self.deep:
            try:
                size = os.stat(path).st_size
            except OSError:
                pass
        return "r\t%d\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n" % (
            record[ID], parent[ID] if parent else 0, kind, self.micros(record[START]),
            self.micros(record[END]) if record[END] else 0, size, record[FLAGS] or "-",
            clean(record[NAME]), clean(path, keep_end=True))  # fmt: skip

    def open(self):
        folder = os.environ.get("THAW_PROFILE_DIR") or "/tmp/.thaw"
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            status = os.lstat(folder)
            if status.st_uid != os.geteuid() or status.st_mode & 0o170000 != 0o040000:
                raise
        with open("/proc/self/stat", "rb") as stat:
            self.ticks = int(stat.read().rpartition(b")")[2].split()[19])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open("%s/init-%d-%d.tsv" % (folder, self.pid, self.ticks), flags, 0o600)

    def header(self):
        version = "%d.%d.%d" % sys.version_info[:3]
        # The kernel keeps the start in hundredths of a second: take the middle.
        # The process is at least as old as the CPU time it has used.
        start = self.ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK") + 5_000_000
        age = max(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - start, process_time_ns())
        return [
            "thaw-init\t1\tpython\t%s\t%d\t%d\n" % (version, self.pid, self.origin_unix // 1000),
            "m\thook\tpython/1\n",
            "m\tprocess_start\t%d\n" % self.micros(perf_counter_ns() - age),
            "m\tbootstrap\t0\n",
            "m\ttask_root\t%s\n" % clean(self.root),
        ]

    def write(self, text):
        data = text.encode("utf-8", "replace")
        self.written += len(data)
        if os.write(self.fd, data) != len(data):
            raise OSError  # no room: what follows would follow a torn line
