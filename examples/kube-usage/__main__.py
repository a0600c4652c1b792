"""So that `python examples/kube-usage …` runs the agent without installing it."""

import sys

from kube_usage.main import main

sys.exit(main(sys.argv[1:]))
