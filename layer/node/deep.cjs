"use strict";
// The part of the hook for the mode "deep": how many of the functions of what was
// loaded have been executed. Nothing is turned on beforehand, so that nothing runs
// slower; asking takes some 30 ms, after the first response and before the runtime
// asks for the next invocation.

// coverage returns the lines for the profile.
function coverage(field) {
  const { Session } = require("inspector");
  const session = new Session();
  session.connect();
  let lines = "";
  session.post("Profiler.getBestEffortCoverage", (err, found) => {
    for (const script of err ? [] : found.result) lines += coverageOf(script, field);
  });
  session.disconnect();
  return lines;
}

function coverageOf({ url, functions }, field) {
  const path = url.startsWith("file://") ? decodeURIComponent(url.slice(7)) : url;
  if (!path.startsWith("/") || path.startsWith(__dirname)) return "";
  // The first is the top level, which loading executes.
  let executed = 0;
  for (let i = 1; i < functions.length; i++) if (functions[i].ranges[0].count > 0) executed++;
  return `c\t${executed}\t${functions.length - 1}\t${field(path, true)}\n`;
}

module.exports = { coverage };
