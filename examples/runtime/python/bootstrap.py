"""The smallest honest Lambda runtime client for Python.

It does what AWS's awslambdaric does for an ordinary function: load the handler,
then next, call, response or error, for ever. Left out: log framing, X-Ray
causes, SnapStart hooks. Start it with the function's folder as the working
directory or in LAMBDA_TASK_ROOT, and the handler in _HANDLER as "file.function".
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback

API = "/2018-06-01/runtime"


class Context:
    """What handlers get as their second argument."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


def call(connection, method, path, body=None, headers=None):
    connection.request(method, API + path, body, headers or {})
    response = connection.getresponse()
    data = response.read()  # to the end, or the connection cannot be kept
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {data.decode()}")
    return response.headers, data


def post_error(connection, path, error, kind):
    body = json.dumps({
        "errorMessage": str(error),
        "errorType": kind,
        "stackTrace": traceback.format_tb(error.__traceback__),
    })
    call(connection, "POST", path, body, {"Lambda-Runtime-Function-Error-Type": kind})


def load_handler():
    sys.path.insert(0, os.environ.get("LAMBDA_TASK_ROOT", os.getcwd()))
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    return getattr(importlib.import_module(module.replace("/", ".")), name)


def init_error_kind(error):
    kinds = {
        ImportError: "Runtime.ImportModuleError",
        SyntaxError: "Runtime.UserCodeSyntaxError",
        AttributeError: "Runtime.HandlerNotFound",
    }
    return next((kind for cls, kind in kinds.items() if isinstance(error, cls)), type(error).__name__)


def serve_one(connection, handler):
    # No timeout: the environment is frozen in here, perhaps for hours.
    headers, event = call(connection, "GET", "/invocation/next")
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
    context = Context(headers)
    path = f"/invocation/{context.aws_request_id}"
    try:
        result = json.dumps(handler(json.loads(event), context))
    except Exception as error:
        traceback.print_exc()
        post_error(connection, path + "/error", error, type(error).__name__)
    else:
        call(connection, "POST", path + "/response", result, {"Content-Type": "application/json"})


def main():
    # Lines must leave before the process is frozen, not when a buffer is full.
    sys.stdout.reconfigure(line_buffering=True)
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load_handler()
    except Exception as error:
        traceback.print_exc()
        post_error(connection, "/init/error", error, init_error_kind(error))
        sys.exit(1)
    while True:
        serve_one(connection, handler)


if __name__ == "__main__":
    main()
