# Python imports this module before anything of the function, because its folder
# is the first in PYTHONPATH. It starts Thaw's init profile and then makes way
# for the sitecustomize that would have been imported without it.
from time import perf_counter_ns

_began = perf_counter_ns()

import os
import sys

try:
    _here = os.path.dirname(__file__)
    if os.environ.get("THAW_PROFILE") != "off":
        import thaw_profile

        del sys.modules["thaw_profile"]
        thaw_profile.start(_began)
except Exception:
    pass  # the function comes first, and it may even do without its profile
try:
    # Neither children nor the function's own imports see this folder.
    sys.path[:] = [_p for _p in sys.path if _p != _here]
    _rest = [_p for _p in os.environ["PYTHONPATH"].split(os.pathsep) if os.path.abspath(_p) != _here]
    if _rest:
        os.environ["PYTHONPATH"] = os.pathsep.join(_rest)
    else:
        del os.environ["PYTHONPATH"]
except Exception:
    pass

# The next one. If there is none, this ImportError tells site that there is no
# sitecustomize, which is the truth again.
del sys.modules["sitecustomize"]
import sitecustomize
