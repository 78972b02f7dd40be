"""The miniature of IF: its pictures, networks and training, and the judge that reads its pictures."""
