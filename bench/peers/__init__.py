"""The same work done by others, side by side in one run: see README.md here."""
