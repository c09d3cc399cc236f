"""What the commands of ``smallarea survey`` teach."""

from __future__ import annotations

from smallarea.cli.texts import LAYER

MATCH = f"""Join the rows of a survey table to areas and report how well they fit.

{LAYER} The table's rows find their area by a code, or by the point where they lie. Nothing is joined by guessing: codes
that are not on the map, near misses and stray points stop the command until they are mended or accepted. The report
and the list of codes are written in any case.

\b
By code, with a report:
  smallarea survey match districts.gpkg --id-field name --table survey.dta \\
      --table-id-field district --output survey_areas.csv --report matching.html

\b
By the labels of a coded column, accepting other spellings:
  smallarea survey match districts.gpkg --id-field name --table survey.sav \\
      --table-id-field dist --code-labels --near-misses accept --output survey_areas.csv

\b
By coordinates; clusters outside the map are left out and listed:
  smallarea survey match regions.gpkg --id-field region --table clusters.csv \\
      --longitude-field long --latitude-field lat --unmatched drop --output clusters_areas.csv"""
