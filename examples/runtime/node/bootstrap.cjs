"use strict";
// The smallest honest Lambda runtime client for Node.js.
//
// It does what AWS's aws-lambda-ric does for an ordinary async function: load the
// handler, then next, call, response or error, for ever. Left out: callback
// handlers, response streaming, log framing, X-Ray causes. The function's folder
// is LAMBDA_TASK_ROOT or the working directory, the handler is in _HANDLER as
// "file.function". The name ends in .cjs so that a package.json with "type":
// "module" beside it changes nothing.

const { once } = require("node:events");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const env = process.env;
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(":");
// One connection for everything. No timeout: the environment is frozen while it
// waits for the next invocation, perhaps for hours.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

async function call(method, route, body, headers) {
  const options = { host, port, method, agent, headers, path: `/2018-06-01/runtime${route}` };
  const request = http.request(options).end(body);
  const [response] = await once(request, "response");
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  if (response.statusCode < 300) return { headers: response.headers, text };
  throw new Error(`${method} ${route}: ${response.statusCode} ${text}`);
}

function postError(route, thrown, kind) {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const type = kind ?? error.name;
  const body = { errorType: type, errorMessage: error.message, trace: (error.stack ?? "").split("\n") };
  return call("POST", route, JSON.stringify(body), { "Lambda-Runtime-Function-Error-Type": type });
}

function context(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

async function loadHandler() {
  const dot = env._HANDLER.lastIndexOf(".");
  const base = path.resolve(env.LAMBDA_TASK_ROOT ?? ".", env._HANDLER.slice(0, dot));
  const file = [".js", ".mjs", ".cjs"].map((ext) => base + ext).find((name) => fs.existsSync(name));
  const handler = (await loadModule(file ?? base))[env._HANDLER.slice(dot + 1)];
  if (typeof handler === "function") return handler;
  throw Object.assign(new Error(`${env._HANDLER} is undefined or not exported`), { code: "HANDLER" });
}

function loadModule(file) {
  if (file.endsWith(".mjs")) return import(pathToFileURL(file));
  try {
    return require(file);
  } catch (error) {
    // A .js is an ES module when a package.json says so.
    if (!/^ERR_REQUIRE_(ESM|ASYNC_MODULE)$/.test(error?.code)) throw error;
    return import(pathToFileURL(file));
  }
}

const initErrors = {
  HANDLER: "Runtime.HandlerNotFound",
  MODULE_NOT_FOUND: "Runtime.ImportModuleError",
};

async function init() {
  try {
    return await loadHandler();
  } catch (error) {
    console.error(error);
    const kind = error instanceof SyntaxError ? "Runtime.UserCodeSyntaxError" : initErrors[error?.code];
    await postError("/init/error", error, kind);
    process.exit(1);
  }
}

async function serveOne(handler) {
  const { headers, text } = await call("GET", "/invocation/next");
  env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] ?? "";
  const ctx = context(headers);
  const route = `/invocation/${ctx.awsRequestId}`;
  let result;
  try {
    // A handler that returns nothing answers null: undefined is not JSON.
    result = JSON.stringify((await handler(JSON.parse(text), ctx)) ?? null);
  } catch (error) {
    console.error(error);
    return postError(`${route}/error`, error);
  }
  await call("POST", `${route}/response`, result, { "Content-Type": "application/json" });
}

(async () => {
  const handler = await init();
  for (;;) await serveOne(handler);
})().catch((error) => {
  console.error(error); // the Runtime API is gone: nothing can be reported to it
  process.exit(1);
});
