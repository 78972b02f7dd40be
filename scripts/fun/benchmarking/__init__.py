"""What this project is compared with, how it is timed, and how large its networks are."""
