"""`python -m afterimage`."""

import sys

from afterimage.cli import main

sys.exit(main())
