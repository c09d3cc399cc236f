"""Job descriptions, the runner, and the events it reports.

Import from the modules: ``jobs.schema`` needs pydantic, ``jobs.events`` and ``jobs.watch`` the standard
library only, so that the command line can show its help without waiting.
"""
