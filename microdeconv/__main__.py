"""`python -m microdeconv`."""

import sys

from microdeconv.cli.app import main

sys.exit(main())
