"""`python -m breastus` is the command `breastus`."""

import sys

from breastus.cli.main import main

sys.exit(main())
