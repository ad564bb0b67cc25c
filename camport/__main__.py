"""`python -m camport`."""

import sys

from camport.cli import main

sys.exit(main())
