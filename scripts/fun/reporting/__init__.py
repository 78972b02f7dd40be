"""From pictures to the page: figures, charts, the HTML report. Needs no torch."""
