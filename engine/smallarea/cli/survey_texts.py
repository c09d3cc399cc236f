"""What the commands of ``smallarea survey`` teach."""

from __future__ import annotations
