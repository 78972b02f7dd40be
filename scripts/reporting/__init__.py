"""What stands between the pictures and the page: figure.json, charts, and the HTML report. Needs no torch."""
