"use strict";
// A function that logs a lot: it takes a batch of access log lines, and writes
// one structured line to its own log for each of them.

const FORMAT = /^(\S+) (\S+) (GET|POST|PUT|DELETE) (\S+) (\d{3}) (\d+)ms$/;

exports.handler = async (event, context) => {
  if (!Array.isArray(event.records)) throw new TypeError('the event has no "records"');
  const counts = { info: 0, warn: 0, error: 0, malformed: 0 };
  for (const [position, text] of event.records.entries()) {
    const entry = audit(text);
    counts[entry.level]++;
    console.log(JSON.stringify({ ...entry, requestId: context.awsRequestId, position }));
  }
  return { records: event.records.length, ...counts };
};

function audit(text) {
  const match = FORMAT.exec(text);
  if (!match) return { level: "malformed", message: "not an access log line", text };
  const [, time, user, method, path, status, duration] = match;
  return {
    level: level(Number(status)),
    message: `${user} ${verb(method)} ${path}`,
    time,
    user,
    action: `${method} ${path.split("/")[1]}`,
    status: Number(status),
    durationMs: Number(duration),
  };
}

function level(status) {
  if (status >= 500) return "error";
  return status >= 400 ? "warn" : "info";
}

function verb(method) {
  return { GET: "read", POST: "created", PUT: "changed", DELETE: "deleted" }[method];
}
