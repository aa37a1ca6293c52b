"use strict";
// Loaded into the function's process by NODE_OPTIONS="--require /opt/thaw/node/thaw.cjs".
//
// This file runs in every Node.js, however old, and in every process that
// inherits the variable: it takes itself out of NODE_OPTIONS, so that children
// and workers do not load it, and starts the hook where there is something to
// record. The hook's own file is compiled only then.

try {
  (function (began, env) {
    var options = env.NODE_OPTIONS;
    if (options !== undefined) {
      options = options.replace(/(^|\s)\s*(--require|-r)(=|\s+)("[^"]*\/thaw\.cjs"|[^\s"]*\/thaw\.cjs)(?=\s|$)/g, "").trim();
      if (options) env.NODE_OPTIONS = options;
      else delete env.NODE_OPTIONS;
    }
    // Workers load what their parent has preloaded. There, chdir is not to be had.
    var wanted = env.THAW_PROFILE !== "off" && !process.chdir.disabled;
    if (wanted && module.constructor.prototype.load.name !== "loadHook") require("./hook.cjs")(began);
    delete require.cache[__filename];
  })(process.uptime(), process.env);
} catch (e) {
  // Whatever it was, the function does not need it.
}
