# Sourced by ../wrapper: Python imports the hook's sitecustomize, which takes it out again for children.
PYTHONPATH="$thaw/python${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
