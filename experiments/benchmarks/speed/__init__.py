"""How fast breastus is, beside what one would take instead: `make bench`."""
