"""`python -m sora_mock` is `sora-mock`."""

import sys

from sora_mock.cli import main

sys.exit(main())
