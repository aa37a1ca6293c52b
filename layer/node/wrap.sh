# Sourced by ../wrapper: Node.js loads the hook, which takes it out again for children.
NODE_OPTIONS="--require $thaw/node/thaw.cjs${NODE_OPTIONS:+ $NODE_OPTIONS}"
export NODE_OPTIONS
