"""What the commands of ``smallarea survey`` teach."""

from __future__ import annotations

CALIBRATE = """Calibrate survey weights to known totals of the population.

The table of totals has columns of the survey's names with categories, and a column with numbers of people. A number
belongs to the categories that its row fills in: rows with region and sex are cells, rows with one of the two margins.

\b
Post-stratification: one set of categories (region, total):
  smallarea survey calibrate --table survey.csv --weight pw --totals regions.csv \\
      --method poststratify --csv calibrated.csv

\b
Raking to regions and to age groups (region, age, total; in each row one of the two filled in):
  smallarea survey calibrate --table survey.csv --weight pw --totals margins.csv --csv calibrated.csv

\b
GREG with the total of a number as well (region, total, income; a row with the region empty has that of income):
  smallarea survey calibrate --table survey.csv --weight pw --totals totals.csv \\
      --method greg --auxiliary income --csv calibrated.csv --excel totals.xlsx"""
