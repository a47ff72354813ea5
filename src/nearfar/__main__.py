"""``python -m nearfar`` is the command ``nearfar``; ``torchrun -m nearfar`` starts it on several
processes.
"""

import sys

from nearfar.cli import main

sys.exit(main())
