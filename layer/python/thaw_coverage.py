# Deep mode (THAW_PROFILE=deep): which functions the first invocation executes,
# file by file, from Python 3.12 on. What it loads and never executes is the
# first thing to load later, or not at all.

import sys


def of_this_python():
    try:
        return Coverage()
    except (AttributeError, ValueError):
        return None  # an older Python, or another tool has our place


class Coverage:
    TOOL = 4  # one of sys.monitoring's that no kind of tool has reserved
    OPTIMIZED = 1  # a flag of functions, which modules and classes lack

    def __init__(self):
        self.monitoring = sys.monitoring
        self.functions = {}  # code objects by their id, by file
        self.executed = set()
        self.monitoring.use_tool_id(self.TOOL, "thaw")
        self.event = self.monitoring.events.PY_START
        self.monitoring.register_callback(self.TOOL, self.event, self.started)
        self.monitoring.set_events(self.TOOL, self.event)

    def started(self, code, _):
        if code.co_name == "<module>" and code.co_filename.startswith("/"):
            self.add(code, self.functions.setdefault(code.co_filename, {}))
        self.executed.add(id(code))
        return self.monitoring.DISABLE  # once for each code object is enough

    def add(self, code, found):
        for inner in code.co_consts:
            if hasattr(inner, "co_code"):
                if inner.co_flags & self.OPTIMIZED:
                    found[id(inner)] = inner
                self.add(inner, found)

    def begin(self):
        """Forgets what the init executed."""
        self.executed.clear()
        self.monitoring.restart_events()

    def stop(self):
        self.monitoring.set_events(self.TOOL, 0)
        self.monitoring.register_callback(self.TOOL, self.event, None)
        self.monitoring.free_tool_id(self.TOOL)

    def files(self):
        """How many functions of each file were executed, how many it has, and its path."""
        return [(len(found.keys() & self.executed), len(found), path) for path, found in self.functions.items() if found]
