"""Speed of breastus beside other libraries: `make bench`."""
