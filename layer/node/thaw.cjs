"use strict";
// Loaded into the function's process by NODE_OPTIONS="--require /opt/thaw/node/thaw.cjs".
//
// This file runs in every Node.js, however old, and in every process that
// inherits the variable: it takes itself out of NODE_OPTIONS, so that children
// and workers do not load it, and starts the hook where there is something to
// record. The hook's own file is compiled only then.

try {
  (function (began, env, Module) {
    var options = env.NODE_OPTIONS;
    if (options === "--require " + __filename) {
      delete env.NODE_OPTIONS;
    } else if (options !== undefined) {
      options = options.replace(/(^|\s)\s*(--require|-r)(=|\s+)("[^"]*\/thaw\.cjs"|[^\s"]*\/thaw\.cjs)(?=\s|$)/g, "").trim();
      if (options) env.NODE_OPTIONS = options;
      else delete env.NODE_OPTIONS;
    }
    delete require.cache[__filename];
    // Workers load what their parent has preloaded. There, chdir is not to be had.
    if (env.THAW_PROFILE === "off" || process.chdir.disabled || Module.prototype.load.name === "loadHook") return;
    // As require would, without looking for the file and keeping it.
    var file = __dirname + "/hook.cjs";
    var hook = new Module(file, null);
    hook._compile(require("fs").readFileSync(file, "utf8"), file, "commonjs");
    hook.exports(began);
  })(process.uptime(), process.env, module.constructor);
} catch (e) {
  // Whatever it was, the function does not need it.
}
