# Sourced by ../wrapper: Ruby requires the hook, which takes it out again for children.
RUBYOPT="-r$thaw/ruby/thaw${RUBYOPT:+ $RUBYOPT}"
export RUBYOPT
